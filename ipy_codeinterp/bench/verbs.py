"""The bench's verbs, and with those of `verbs` all that both faces share. To add one, add a row to VERBS."""

from __future__ import annotations

from ipy_codeinterp import verbs
from ipy_codeinterp.bench import bench_verb
from ipy_codeinterp.bench.projection import project_verb
from ipy_codeinterp.verbs import Verb

VERBS: dict[str, Verb] = {verb.name: verb for verb in (bench_verb.VERB, project_verb.VERB)}
SHARED: dict[str, Verb] = {**verbs.VERBS, **VERBS}
