"""Containers by the user's names, files uploaded once, and what is lost is said and made anew."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from ipy_codeinterp import attachments, catalog
from ipy_codeinterp.dialects import messages
from ipy_codeinterp.errors import GatewayLost, Rejected
from ipy_codeinterp.execution import Execution, Notice, Stream

from .provider import Lab, Provider, hang_up, lab, not_found, refuses, runs, says


def test_container_has_the_users_name(tmp_path: Path) -> None:
    """The second run in a container goes to the one that the first one made, and only the first is new."""

    async def main() -> None:
        provider = Provider()
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            first, second, other = [await bench.run(container=name) for name in ("mine", "mine", "yours")]

            containers = [asked.container for asked in provider.asked]
            assert containers[0] is None and containers[1] is not None and containers[2] is None
            assert [result.container_new for result in (first, second, other)] == [True, False, True]
            assert second.container == "mine"
            assert [asked.keep for asked in provider.asked] == [True] * 3

    asyncio.run(main())


def test_the_same_name_elsewhere(tmp_path: Path) -> None:
    """A container is at one provider: the same name at another is a new one, which is said once."""

    async def main() -> None:
        provider = Provider()
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            elsewhere = replace(catalog.find("claude"), provider="vendor")
            for offer in (catalog.find("claude"), elsewhere, elsewhere, catalog.find("claude")):
                await bench.client.execute(Execution("x", container="mine"), offer, bench.emit)

            first, _, at_vendor, again = [asked.container for asked in provider.asked]
            assert first is None and None not in (at_vendor, again)
            said = [str(notice.text) for notice in bench.said(Notice)]
            assert said == ["container 'mine' is new at vendor: that of local is another one"]

    asyncio.run(main())


def test_no_container(tmp_path: Path) -> None:
    """Without a container each run is fresh, and nothing of it is kept."""

    async def main() -> None:
        provider = Provider()
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            results = [await bench.run() for _ in range(2)]
            assert [(asked.container, asked.keep) for asked in provider.asked] == [(None, False)] * 2
            assert [result.container_new for result in results] == [None, None]

    asyncio.run(main())


def test_one_at_a_time(tmp_path: Path) -> None:
    """Runs of one container never overlap and keep their order; runs of others do not wait for them."""

    async def main() -> None:
        go_on, provider = asyncio.Event(), Provider()
        provider.script.extend([runs(until=go_on), runs(until=go_on)])
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            first = bench.start("1", container="mine")
            await provider.has(1)
            rest = [bench.start(code, container="mine") for code in "234"]
            other = bench.start("other", container="yours")
            await provider.has(2)
            assert provider.codes == ["1", "other"]

            go_on.set()
            await asyncio.gather(first, other, *rest)
            assert provider.codes == ["1", "other", "2", "3", "4"]

    asyncio.run(main())


def test_fresh_runs_overlap(tmp_path: Path) -> None:
    """Runs without a container do not wait for one another."""

    async def main() -> None:
        go_on, provider = asyncio.Event(), Provider()
        provider.script.extend(runs(until=go_on) for _ in range(3))
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            running = [bench.start(code) for code in "123"]
            await provider.has(3)
            go_on.set()
            await asyncio.gather(*running)

    asyncio.run(main())


def test_cancelled_run_keeps_its_container(tmp_path: Path) -> None:
    """After an interrupt the container is known all the same, and the next run is in it."""

    async def main() -> None:
        provider = Provider(runs(Stream("stdout", "so far\n"), until=asyncio.Event()))
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            running = bench.start(container="mine")
            while not bench.said(Stream):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait([running])

            second = await bench.run(container="mine")
            assert provider.asked[1].container is not None
            assert second.container_new is False

    asyncio.run(main())


def test_cancelled_in_the_queue(tmp_path: Path) -> None:
    """A run that is cancelled while it waits for its container is never sent, and those behind it come on."""

    async def main() -> None:
        go_on, provider = asyncio.Event(), Provider()
        provider.script.append(runs(until=go_on))
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            first, second, third = (bench.start(code, container="mine") for code in "123")
            await provider.has(1)
            second.cancel()
            await asyncio.wait([second])
            go_on.set()
            await asyncio.gather(first, third)
            assert provider.codes == ["1", "3"]

    asyncio.run(main())


def test_lost_container(tmp_path: Path) -> None:
    """A container that the gateway lost is made anew, once, with a notice that its variables are gone."""

    async def main() -> None:
        provider = Provider(runs(), not_found("container"))
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            await bench.run(container="mine")
            result = await bench.run(container="mine")

            (notice,) = bench.said(Notice)
            assert "container 'mine' is new" in notice.text
            assert (result.ok, result.container_new, result.attempts) == (True, True, 2)
            assert [asked.container is None for asked in provider.asked] == [True, False, True]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("words", "is_gone"),
    [
        ("Container is expired.", True),
        ("Expected container_id: cntr_1", True),
        ("this container runs node, not python", False),
        ("container: memory_limit is fixed when it is made", False),
    ],
)
def test_a_wrong_request_is_no_lost_container(tmp_path: Path, words: str, is_gone: bool) -> None:
    """A 400 that names a container costs its variables only where it says that they are gone."""

    async def main() -> None:
        said = messages.encode_error("invalid_request_error", words, "req_1")
        provider = Provider(runs(), refuses(400, said))
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            await bench.run(container="mine")
            if is_gone:
                assert (await bench.run(container="mine")).container_new is True
            else:
                with pytest.raises(Rejected, match=words):
                    await bench.run(container="mine")
                assert (await bench.run(container="mine")).container_new is False

    asyncio.run(main())


def test_lost_container_twice(tmp_path: Path) -> None:
    """A gateway that does not know the new one either is believed."""

    async def main() -> None:
        provider = Provider(runs(), not_found("container"), not_found("container"))
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            await bench.run(container="mine")
            with pytest.raises(Rejected, match="container not found"):
                await bench.run(container="mine")
            assert len(provider.requests) == 3

    asyncio.run(main())


@pytest.mark.parametrize("status", [400, 404])
def test_refused(tmp_path: Path, status: int) -> None:
    """A request that is wrong for another reason is not made twice."""

    async def main() -> None:
        provider = Provider(refuses(status, {"error": {"message": "model: no such one"}}))
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            with pytest.raises(Rejected, match="no such one"):
                await bench.run(container="mine")
            assert len(provider.requests) == 1
            assert bench.said(Notice) == []

    asyncio.run(main())


# --- files ----------------------------------------------------------------------------------------


def a_file(folder: Path, name: str = "a.csv", content: bytes = b"1,2") -> Execution:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return Execution("x", files=attachments.read([folder / name]))


async def run_with(bench: Lab, *executions: Execution) -> None:
    await asyncio.gather(*[bench.run(e.body, files=e.files, container=e.container) for e in executions])


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "at once"])
def test_uploaded_once(tmp_path: Path, at_once: bool) -> None:
    """A content is uploaded once, however many runs need it, also at the same time."""

    async def main() -> None:
        provider, execution = Provider(), a_file(tmp_path)
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            for batch in [[execution] * 5] if at_once else [[execution]] * 5:
                await run_with(bench, *batch)
            assert provider.uploads == [("a.csv", b"1,2")]
            assert [asked.file_ids for asked in provider.asked] == [("file_1",)] * 5

    asyncio.run(main())


def test_uploaded_by_content(tmp_path: Path) -> None:
    """A file that was changed, or has another name, is uploaded; one that only lies elsewhere is not."""

    async def main() -> None:
        provider = Provider()
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            await run_with(bench, a_file(tmp_path))
            await run_with(bench, a_file(tmp_path / "elsewhere"))
            await run_with(bench, a_file(tmp_path, content=b"3,4"))
            await run_with(bench, a_file(tmp_path, name="b.csv"))
            assert provider.uploads == [("a.csv", b"1,2"), ("a.csv", b"3,4"), ("b.csv", b"1,2")]
            assert [asked.file_ids for asked in provider.asked] == [("file_1",), ("file_1",), ("file_2",), ("file_3",)]

    asyncio.run(main())


def test_lost_file(tmp_path: Path) -> None:
    """A file that the gateway no longer has is uploaded again, and nobody is troubled with it."""

    async def main() -> None:
        provider = Provider(runs(), not_found("file"))
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            for _ in range(2):
                await run_with(bench, replace(a_file(tmp_path), container="mine"))
            assert len(provider.uploads) == 2
            assert [asked.file_ids for asked in provider.asked] == [("file_1",), ("file_1",), ("file_2",)]
            assert provider.asked[2].container == provider.asked[1].container is not None
            assert bench.said(Notice) == []

    asyncio.run(main())


# --- the gateway itself ---------------------------------------------------------------------------


def test_new_gateway(tmp_path: Path) -> None:
    """A gateway that was started anew knows no ids of the old one: what is lost is said once, files go up again."""

    async def main() -> None:
        old, new = Provider(), Provider()
        async with lab(old, tmp_path / "s.sqlite") as bench, lab(new, tmp_path / "t.sqlite") as other:
            await run_with(bench, replace(a_file(tmp_path), container="mine"))
            bench.endpoint = other.endpoint
            await run_with(bench, replace(a_file(tmp_path), container="mine"))
            await run_with(bench, Execution("x"))

            (notice,) = bench.said(Notice)
            assert "started anew; lost containers: mine" in notice.text
            assert new.asked[0].container is None
            assert len(new.uploads) == 1

    asyncio.run(main())


def test_gateway_dies(tmp_path: Path) -> None:
    """A gateway that dies under a run is a typed error that names the containers it took along."""

    async def main() -> None:
        provider = Provider(runs(), says(b": alive\n\n", then=hang_up))
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            await bench.run(container="mine")
            provider.alive = False
            with pytest.raises(GatewayLost) as caught:
                await bench.run()
            assert caught.value.hint.endswith("; lost containers: mine")
            assert caught.value.transient

    asyncio.run(main())
