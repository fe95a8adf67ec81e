"""The policies of the reference's Endpoint Picker, each usable alone.

Names, parameters and defaults are those of the reference, the Endpoint Picker of the Gateway API
inference extension. Endpoints and requests are plain facts, so no scheduler is needed:

>>> from slotwise import policy
>>> endpoints = [{"waiting": 3, "kv_usage": 0.2}, {"waiting": 0, "kv_usage": 0.6}]
>>> queue = policy.score("queue-scorer", None, endpoints)
>>> queue
[0.0, 1.0]
>>> cache = policy.score("kv-cache-utilization-scorer", None, endpoints)
>>> policy.pick("max-score-picker", None, policy.weighted_sum([2, 2], [queue, cache]), seed=7)
[1]

Facts and parameters are mappings or dataclasses. A name, field or parameter that is not known
raises ``ValueError`` with its name; a value of the wrong type raises ``TypeError``. Hashes and
keys of blocks are integers of 64 bits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from . import _core
from .facts import EndpointFacts, Prediction, RequestFacts, TierBlocks, Topology
from .machine import dumps

__all__ = [
    "EndpointExplanation",
    "EndpointFacts",
    "Families",
    "Parameters",
    "Prediction",
    "ProfileExplanation",
    "ProfileRunnerUp",
    "RequestFacts",
    "Schedule",
    "ScoreExplanation",
    "TierBlocks",
    "Topology",
    "admit",
    "align_extra_keys",
    "approximate_block_hashes",
    "approximate_block_tokens",
    "ceilings",
    "estimate_output",
    "explain",
    "filter",
    "map_engine_keys",
    "names",
    "outcome_status",
    "pack_tokens",
    "parse_topic",
    "pd_decide",
    "pick",
    "request_keys",
    "saturation",
    "schedule",
    "score",
    "select",
    "shed_probability",
    "weighted_sum",
]

Parameters = Mapping[str, Any]
"""The parameters of a policy, as the reference spells them: ``{"matchLengthWeight": 0.5}``."""


class Families(TypedDict):
    """The names of all policies, by family."""

    scorers: list[str]
    filters: list[str]
    pickers: list[str]
    handlers: list[str]
    admitters: list[str]
    deciders: list[str]


def names() -> Families:
    """The names of all policies, by family.

    >>> "lora-affinity-scorer" in names()["scorers"]
    True
    """
    families: Families = _call("names")
    return families


def score(
    name: str,
    parameters: Parameters | None,
    endpoints: Sequence[EndpointFacts],
    request: RequestFacts | None = None,
) -> list[float]:
    """The raw scores of the endpoints, in their order; higher is better.

    >>> score("queue-scorer", {}, [{"waiting": 4}, {"waiting": 6}, {"waiting": 8}])
    [1.0, 0.5, 0.0]
    """
    scores = _call(
        "score", name=name, parameters=parameters, endpoints=endpoints, request=request
    )
    return [float(each) for each in scores]


def filter(
    name: str,
    parameters: Parameters | None,
    endpoints: Sequence[EndpointFacts],
    request: RequestFacts | None = None,
    *,
    seed: int = 0,
) -> list[int]:
    """The positions of the endpoints that a filter keeps. Random choices follow from ``seed``.

    >>> match = {"matchLabels": {"tier": "gold"}}
    >>> filter("label-selector-filter", match, [{}, {"labels": {"tier": "gold"}}])
    [1]
    """
    kept: list[int] = _call(
        "filter",
        name=name,
        parameters=parameters,
        endpoints=endpoints,
        request=request,
        seed=seed,
    )
    return kept


def pick(
    name: str, parameters: Parameters | None, scores: Sequence[float], *, seed: int = 0
) -> list[int]:
    """The positions that a picker selects from scores, best first. Choices follow from ``seed``.

    >>> pick("max-score-picker", {"maxNumOfEndpoints": 2}, [0.5, 2.0, 1.0])
    [1, 2]
    """
    picked: list[int] = _call("pick", name=name, parameters=parameters, scores=scores, seed=seed)
    return picked


def select(
    profile: Mapping[str, Any],
    endpoints: Sequence[EndpointFacts],
    request: RequestFacts | None = None,
    *,
    seed: int = 0,
) -> list[int]:
    """The positions that a whole profile selects, best first; none if the filters left none.

    >>> profile = {"scorers": [{"scorer": {"type": "queue-scorer"}, "weight": 2}]}
    >>> select(profile, [{"waiting": 4}, {"waiting": 0}])
    [1]
    """
    picked: list[int] = _call(
        "select", profile=profile, endpoints=endpoints, request=request, seed=seed
    )
    return picked


class ScoreExplanation(TypedDict):
    """The score of one scorer."""

    scorer: str
    """The scorer."""
    weight: float
    """The factor of its scores."""
    raw: float
    """The score as the scorer returned it."""
    weighted: float
    """The score, clamped to 0 to 1, times the weight."""


class EndpointExplanation(TypedDict):
    """What filters and scorers made of one endpoint."""

    dropped_by: str | None
    """The filter that removed the endpoint; ``None`` if it is a candidate."""
    scores: list[ScoreExplanation]
    """The scores, in the order of the scorers; empty if a filter removed the endpoint."""
    total: float
    """The sum of the weighted scores."""
    rank: int | None
    """One more than the number of candidates with a higher total; ``None`` if a filter removed the
    endpoint."""


class ProfileRunnerUp(TypedDict):
    """What the best endpoint that did not win lacks."""

    place: int
    """Its position."""
    behind: float
    """The winner's total minus its own."""
    lost_most_in: str | None
    """The scorer in which it lost most to the winner; ``None`` if it lost in none."""
    lost: float
    """The difference of the weighted scores of that scorer."""


class ProfileExplanation(TypedDict):
    """Why a profile selected an endpoint."""

    endpoints: list[EndpointExplanation]
    """Every endpoint, in order."""
    picker: str
    """The picker."""
    picked: list[int]
    """The positions of the selected endpoints, best first."""
    runner_up: ProfileRunnerUp | None
    """The best endpoint that did not win; ``None`` without a second candidate."""


def explain(
    profile: Mapping[str, Any],
    endpoints: Sequence[EndpointFacts],
    request: RequestFacts | None = None,
    *,
    seed: int = 0,
) -> ProfileExplanation:
    """What :func:`select` selects with the same arguments, and why.

    >>> profile = {
    ...     "filters": [{"type": "decode-filter"}],
    ...     "scorers": [{"scorer": {"type": "queue-scorer"}, "weight": 2}],
    ... }
    >>> prefill = {"labels": {"llm-d.ai/role": "prefill"}}
    >>> explanation = explain(profile, [prefill, {"waiting": 4}, {"waiting": 0}])
    >>> [endpoint["dropped_by"] for endpoint in explanation["endpoints"]]
    ['decode-filter', None, None]
    >>> explanation["runner_up"]["lost_most_in"], explanation["runner_up"]["behind"]
    ('queue-scorer', 2.0)
    """
    explanation = _call(
        "explain", profile=profile, endpoints=endpoints, request=request, seed=seed
    )
    for endpoint in explanation["endpoints"]:
        endpoint["total"] = float(endpoint["total"])
        for each in endpoint["scores"]:
            each |= {name: float(each[name]) for name in ("weight", "raw", "weighted")}
    if (runner_up := explanation["runner_up"]) is not None:
        runner_up |= {name: float(runner_up[name]) for name in ("behind", "lost")}
    result: ProfileExplanation = explanation
    return result


class Schedule(TypedDict):
    """What a handler decided."""

    primary: str
    """The profile whose endpoint returns the answer."""
    picked: dict[str, list[int]]
    """The positions that each profile selected, best first."""
    destinations: list[str]
    """The addresses of the primary profile's endpoints, best first."""
    headers: dict[str, str]
    """The headers for the endpoint."""


def schedule(
    name: str,
    parameters: Parameters | None,
    profiles: Mapping[str, Any],
    endpoints: Sequence[EndpointFacts],
    request: RequestFacts | None = None,
    *,
    deciders: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Schedule:
    """The endpoints of each profile that a handler runs. Profiles and deciders have names.

    >>> profiles = {"default": {"scorers": [{"scorer": {"type": "queue-scorer"}}]}}
    >>> endpoints = [{"name": "a", "waiting": 4}, {"name": "b", "waiting": 0}]
    >>> schedule("single-profile-handler", None, profiles, endpoints)["picked"]
    {'default': [1]}
    """
    decided: Schedule = _call(
        "schedule",
        name=name,
        parameters=parameters,
        profiles=profiles,
        deciders=deciders,
        endpoints=endpoints,
        request=request,
        seed=seed,
    )
    return decided


def admit(
    name: str,
    parameters: Parameters | None,
    endpoints: Sequence[EndpointFacts],
    request: RequestFacts | None = None,
    *,
    seed: int = 0,
) -> bool:
    """Whether ``latency-slo-admitter`` or ``probabilistic-admitter`` admits the request.

    >>> admit("probabilistic-admitter", None, [{"waiting": 5}], {"priority": -1})
    False
    """
    admitted: bool = _call(
        "admit",
        name=name,
        parameters=parameters,
        endpoints=endpoints,
        request=request,
        seed=seed,
    )
    return admitted


def weighted_sum(weights: Sequence[float], scores: Sequence[Sequence[float]]) -> list[float]:
    """The total of each endpoint: scores are clamped to 0 to 1; NaN counts as zero.

    >>> weighted_sum([2, 1], [[0.5, 1.5], [-1, 0.25]])
    [1.0, 2.25]
    """
    return [float(each) for each in _call("weighted_sum", weights=weights, scores=scores)]


def saturation(policy: str | Parameters, endpoints: Sequence[EndpointFacts]) -> float:
    """The saturation of a pool: 0 is idle, 1 is full; the detectors exceed 1.

    >>> saturation("utilization-detector", [{"waiting": 5}, {}])
    0.5
    """
    return float(_call("saturation", policy=policy, endpoints=endpoints))


def ceilings(
    policy: str | Parameters, priorities: Sequence[int], saturation: float, round: int = 1
) -> list[float]:
    """The usage limit of each band. ``priorities`` run from the highest to the lowest.

    >>> ceilings({"type": "priority-holdback-policy", "minCeiling": 0.5}, [10, 0, -10], 0.9)
    [1.0, 0.75, 0.5]
    """
    limits = _call(
        "ceilings", policy=policy, priorities=priorities, saturation=saturation, round=round
    )
    return [float(each) for each in limits]


def outcome_status(
    outcome: str, causes: Sequence[str] = (), pool_empty: bool = False
) -> tuple[int, str | None]:
    """The HTTP status of an outcome, and its ``x-llm-d-request-dropped-reason``.

    >>> outcome_status("EvictedTTL", [], False)
    (429, 'rejected-ttl-expired')
    """
    status, reason = _call("outcome_status", outcome=outcome, causes=causes, pool_empty=pool_empty)
    return status, reason


def estimate_output(
    input_tokens: int,
    ratio: float = 1.5,
    client_max_tokens: int | None = None,
    operator_cap: int | None = None,
) -> int:
    """The expected output tokens: ``round(input_tokens * ratio)``, at most the two limits.

    >>> estimate_output(1000, client_max_tokens=256)
    256
    """
    tokens: int = _call(
        "estimate_output",
        input_tokens=input_tokens,
        ratio=ratio,
        client_max_tokens=client_max_tokens,
        operator_cap=operator_cap,
    )
    return tokens


def shed_probability(
    priority: int, saturation: float, parameters: Parameters | None = None
) -> float:
    """The probability with which ``probabilistic-admitter`` sheds a request.

    >>> shed_probability(-1, 0.4), shed_probability(0, 0.4)
    (1.0, 0.0)
    """
    return float(
        _call(
            "shed_probability", priority=priority, saturation=saturation, parameters=parameters
        )
    )


def pd_decide(decider: str | Parameters, facts: Mapping[str, Any] | None = None) -> bool:
    """Whether a decider disaggregates prefill from decoding. Absent facts are zero or false.

    >>> decider = {"type": "prefix-based-pd-decider", "parameters": {"nonCachedTokens": 512}}
    >>> pd_decide(decider, {"prompt_tokens": 2000, "cached_tokens": 1600})
    False
    """
    decided: bool = _call("pd_decide", decider=decider, facts=facts or {})
    return decided


def pack_tokens(prompt: str) -> list[int]:
    """The reference's estimate of tokens from text: four bytes each, little-endian.

    >>> [hex(token) for token in pack_tokens("abcde")]
    ['0x64636261', '0x65']
    """
    tokens: list[int] = _call("pack_tokens", prompt=prompt)
    return tokens


def approximate_block_tokens(engine: int | None = None) -> int:
    """The tokens of a block for an engine with blocks of this size; at least 64.

    >>> approximate_block_tokens(16)
    64
    """
    tokens: int = _call("approximate_block_tokens", engine=engine)
    return tokens


def approximate_block_hashes(
    prompt: str | Sequence[int],
    *,
    block_tokens: int,
    model: str = "",
    cache_salt: str = "",
    max_blocks: int | None = None,
) -> list[int]:
    """The hashes of ``approx-prefix-cache-producer``. Text is packed into tokens first.

    >>> len(approximate_block_hashes(range(130), block_tokens=64, model="llama"))
    3
    """
    given = {"prompt": prompt} if isinstance(prompt, str) else {"tokens": list(prompt)}
    return _numbers(
        _call(
            "approximate_block_hashes",
            **given,
            block_tokens=block_tokens,
            model=model,
            cache_salt=cache_salt,
            max_blocks=max_blocks,
        )
    )


def request_keys(
    tokens: Sequence[int],
    *,
    block_tokens: int,
    model: str = "",
    algorithm: str = "cbor-fnv",
    seed: str = "",
    parent: int | None = None,
    extra_keys: Sequence[Sequence[str]] = (),
) -> list[int]:
    """The keys of ``precise-prefix-cache-producer`` for full blocks: ``cbor-fnv`` or ``xxh64``.

    >>> keys = request_keys([1, 2, 3, 4, 5], block_tokens=2, model="llama", algorithm="xxh64")
    >>> keys[1:] == request_keys(
    ...     [3, 4], block_tokens=2, model="llama", algorithm="xxh64", parent=keys[0]
    ... )
    True
    """
    return _numbers(
        _call(
            "request_keys",
            tokens=list(tokens),
            block_tokens=block_tokens,
            model=model,
            algorithm=algorithm,
            seed=seed,
            parent=None if parent is None else f"{parent:016x}",
            extra_keys=extra_keys,
        )
    )


def map_engine_keys(engine: Sequence[int], request: Sequence[int]) -> dict[int, list[int]]:
    """The request keys of each key of an engine whose blocks have another size.

    >>> map_engine_keys([1, 2], [100, 200, 300, 400])
    {1: [100, 200], 2: [300, 400]}
    """
    mapping = _call("map_engine_keys", engine=_texts(engine), request=_texts(request))
    return {int(key, 16): _numbers(keys) for key, keys in mapping.items()}


def align_extra_keys(engine: Sequence[Sequence[str]], blocks: int) -> list[list[str]]:
    """The extra keys of an engine's blocks, aligned with ``blocks`` blocks of another size.

    >>> align_extra_keys([["image"], []], 1)
    [['image']]
    """
    aligned: list[list[str]] = _call("align_extra_keys", engine=engine, blocks=blocks)
    return aligned


def parse_topic(topic: str) -> tuple[str, str]:
    """The pod and the model of a KV event topic, ``kv@POD@MODEL``.

    >>> parse_topic("kv@10.0.0.7@llama")
    ('10.0.0.7', 'llama')
    """
    parts = _call("parse_topic", topic=topic)
    return parts["pod"], parts["model"]


def _call(function: str, **arguments: Any) -> Any:
    given = {name: value for name, value in arguments.items() if value is not None}
    return json.loads(_core.call_policy(function, dumps(given)))


def _texts(keys: Sequence[int]) -> list[str]:
    return [f"{key:016x}" for key in keys]


def _numbers(keys: Sequence[str]) -> list[int]:
    return [int(key, 16) for key in keys]
