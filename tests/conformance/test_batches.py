"""The fake of Message Batches as the official SDK sees it: what our client is tested against is the vendor's format."""

from __future__ import annotations

import anthropic
import pytest

from ipy_codeinterp.dialects.dialect import Ask
from ipy_codeinterp.dialects.messages import asking
from ipy_codeinterp.execution import Execution
from ipy_codeinterp.testing import ScriptedBatches

pytestmark = pytest.mark.conformance


def test_the_sdk() -> None:
    """The SDK makes, finds, lists and cancels batches, and reads their results as its own types."""
    params = asking.encode_request(Ask(Execution("print(1)"), "claude", 100))
    del params["stream"]
    with ScriptedBatches(looks=3) as there:
        client = anthropic.Anthropic(base_url=there.base_url, api_key="x", max_retries=0)
        made = [client.messages.batches.create(requests=[{"custom_id": f"b_{n}", "params": params}]) for n in range(3)]  # type: ignore[typeddict-item]
        assert made[0].processing_status == "in_progress"
        assert [each.id for each in client.messages.batches.list()] == [each.id for each in reversed(made)]
        client.messages.batches.cancel(made[1].id)
        ended = [client.messages.batches.retrieve(each.id) for each in made]
        assert [each.processing_status for each in ended] == ["ended"] * 3
        assert (ended[0].request_counts.succeeded, ended[1].request_counts.canceled) == (1, 1)
        (line,) = client.messages.batches.results(made[0].id)
        assert (line.custom_id, line.result.type) == ("b_0", "succeeded")
        with pytest.raises(anthropic.NotFoundError):
            client.messages.batches.retrieve("msgbatch_none")
        client.close()
    assert len(there.bill) == 2
