"""The makers' prices are those of genai-prices: as it says them, and as it computes with them."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

from ipy_codeinterp import catalog
from ipy_codeinterp.execution import Usage

genai_prices = pytest.importorskip("genai_prices", reason="genai-prices is not installed: prices are NOT compared")
TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script, imported without leaving bytecode beside it."""
    path = Path(__file__).parents[1] / "scripts" / "prices"
    loader = importlib.machinery.SourceFileLoader("scripts_prices", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(path.read_text("utf-8"), str(path), "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("name", ["anthropic", "openai", "gemini"])
def test_idempotent(script: ModuleType, name: str) -> None:
    """What was written is written again, to the letter, on any later day that knows no other price."""
    written, unknown = script.priced((script.CATALOG / f"{name}.toml").read_text("utf-8"), script.MAKERS[name], TODAY)

    assert script.priced(written, script.MAKERS[name], TODAY) == (written, unknown)


def test_only_prices(script: ModuleType) -> None:
    """The script changes prices alone, gives what changed the day of today, and leaves what it does not know."""
    text = '# ours\n[container]\nprices = [\n  { memory = 1 },\n]\n\n[[models]]\nname = "gpt-4.1"\naliases = ["x"]\n'
    strange = '\n[[models]]\nname = "gpt-nobody"\nprices = [{ input = "1" }]\n'

    once, unknown = script.priced(text + strange, "openai", date(2026, 11, 1))
    again, _ = script.priced(once, "openai", date(2026, 11, 2))
    cheaper, _ = script.priced(once.replace('input = "2"', 'input = "1"'), "openai", date(2026, 11, 2))

    assert once.startswith(text + "prices = [\n  { input = ")
    assert once.endswith(strange)
    assert unknown == ["gpt-nobody"]
    assert "checked = 2026-11-01" in once and again == once
    assert cheaper == once.replace("2026-11-01", "2026-11-02")


@pytest.mark.parametrize("tokens", [1_000, 100_000, 100_001, 272_001, 900_000])
@pytest.mark.parametrize("batch", [False, True], ids=["", "batch"])
@pytest.mark.parametrize(("name", "theirs"), [("anthropic", "anthropic"), ("openai", "openai"), ("gemini", "google")])
def test_same_cost(name: str, theirs: str, batch: bool, tokens: int) -> None:
    """A request costs here what genai-prices computes for it: cached, written, above each step, and as a batch."""
    cached, written, output = tokens // 2, tokens // 4, 777
    compared = 0
    for model in catalog.provider(name).models:
        offer = catalog.offer(model.name, catalog.provider(name))
        if offer.price is None or not offer.price.source.endswith(genai_prices.__version__):
            continue
        if batch and offer.batch_price is None:
            continue
        writes = written if offer.price.cache_write is not None else 0
        expected = genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=tokens, cache_read_tokens=cached, cache_write_tokens=writes, output_tokens=output
            ),
            model_ref=model.name,
            provider_id=theirs,
            price_context={"processing": "batch"} if batch else None,
        )
        usage = Usage(tokens, output, cached_tokens=cached, cache_write_tokens=writes)
        assert offer.cost(usage, batch=batch).billed == Decimal(expected.total_price), model.name
        compared += 1
    if not compared:
        pytest.skip("another version of genai-prices wrote the catalog: prices are NOT compared")
