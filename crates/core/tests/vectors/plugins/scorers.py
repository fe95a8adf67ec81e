#!/usr/bin/env python3
"""Writes scorers.json: the reference's formulas, written once more and apart from the crate."""

import base64
import json
import pathlib

CASES = []


def case(plugin, name, endpoints, formula, parameters=None, request=None):
    """One case; `formula` maps the endpoints to the scores."""
    entry = {"name": name, "plugin": plugin}
    if parameters is not None:
        entry["parameters"] = parameters
    if request:
        entry["request"] = request
    entry["endpoints"] = endpoints
    entry["expected"] = formula(endpoints) if callable(formula) else formula
    CASES.append(entry)


def rejected(plugin, name, parameters, part):
    CASES.append({"name": name, "plugin": plugin, "parameters": parameters, "error": part})


def relative(key):
    def scores(endpoints):
        values = [e.get(key, 0) for e in endpoints]
        if not values:
            return []
        low, high = min(values), max(values)
        return [1.0 if low == high else (high - v) / (high - low) for v in values]

    return scores


for plugin, key in (("queue-scorer", "waiting"), ("running-requests-size-scorer", "running")):
    def endpoints(*values):
        return [{key: value} for value in values]

    case(plugin, "an empty pool", [], relative(key))
    case(plugin, "one endpoint", endpoints(7), relative(key))
    case(plugin, "all idle", endpoints(0, 0, 0), relative(key))
    case(plugin, "all equally loaded", endpoints(500, 500), relative(key))
    case(plugin, "a difference of one counts fully", endpoints(100, 101), relative(key))
    case(plugin, "linear between the ends", endpoints(10, 5, 0), relative(key))
    case(plugin, "the range starts at the minimum", endpoints(4, 6, 9), relative(key))
    case(plugin, "ties", endpoints(3, 3, 8, 8), relative(key))
    case(plugin, "a missing metric counts as zero", [{}, {key: 4}], relative(key))
    case(plugin, "a large queue", endpoints(0, 1, 2**40), relative(key))
    case(plugin, "the other metrics have no effect", [
        {key: 2, "kv_usage": 0.9, "in_flight_requests": 9}, {key: 1}], relative(key))
    case(plugin, "parameters may be null", endpoints(1, 2), relative(key), parameters=None)
    rejected(plugin, "there are no parameters", {"threshold": 5}, "threshold")


def free(endpoints):
    return [1 - e.get("kv_usage", 0.0) for e in endpoints]


kv = "kv-cache-utilization-scorer"
case(kv, "an empty pool", [], free)
case(kv, "an empty cache", [{"kv_usage": 0.0}], free)
case(kv, "a full cache", [{"kv_usage": 1.0}], free)
case(kv, "a mixed pool", [{"kv_usage": 0.8}, {"kv_usage": 0.5}, {"kv_usage": 0.25}], free)
case(kv, "all equal", [{"kv_usage": 0.4}, {"kv_usage": 0.4}], free)
case(kv, "a missing metric counts as an empty cache", [{}, {"kv_usage": 0.3}], free)
case(kv, "a usage above 1 is below zero", [{"kv_usage": 1.5}], free)
case(kv, "a usage below 0 is above one", [{"kv_usage": -0.25}], free)
case(kv, "a tiny usage", [{"kv_usage": 1e-9}], free)
case(kv, "the queue has no effect", [{"kv_usage": 0.1, "waiting": 90}], free)
rejected(kv, "there are no parameters", {"threshold": 0.8}, "threshold")


def prefix(weight=0.0, scale=8192):
    def scores(endpoints):
        result = []
        for e in endpoints:
            total, match = e.get("total_blocks", 0), e.get("match_blocks", 0)
            if total == 0:
                result.append(0.0)
                continue
            length = min(1.0, match * e.get("block_tokens", 16) / scale) if weight > 0 else 0.0
            result.append(weight * length**2 + (1 - weight) * match / total)
        return result

    return scores


def blocks(match, total, size=64):
    return {"match_blocks": match, "total_blocks": total, "block_tokens": size}


for plugin in ("prefix-cache-scorer", "precise-prefix-cache-scorer"):
    case(plugin, "an empty pool", [], prefix())
    case(plugin, "nothing is cached", [blocks(0, 10)], prefix())
    case(plugin, "all is cached", [blocks(10, 10)], prefix())
    case(plugin, "parts are cached", [blocks(1, 10), blocks(5, 10), blocks(9, 10)], prefix())
    case(plugin, "the prefix is not known", [{}, blocks(3, 4)], prefix())
    case(plugin, "zero blocks in total", [blocks(3, 0)], prefix())
    case(plugin, "more matches than blocks", [blocks(6, 4)], prefix())
    case(plugin, "a long prompt", [blocks(1, 2048), blocks(2047, 2048)], prefix())
    case(plugin, "all equal", [blocks(2, 8), blocks(2, 8)], prefix())
    case(plugin, "a block without tokens", [blocks(2, 8, 0)], prefix())
plugin = "prefix-cache-scorer"
for weight in (0.5, 1.0, 0.25):
    case(plugin, f"length counts {weight}", [blocks(10, 100), blocks(64, 640), blocks(200, 400)],
         prefix(weight), {"matchLengthWeight": weight})
case(plugin, "the length saturates", [blocks(128, 256), blocks(256, 512), blocks(999, 1998)],
     prefix(0.5), {"matchLengthWeight": 0.5})
case(plugin, "a scale of tokens", [blocks(10, 100, 16), blocks(20, 100, 16)], prefix(0.5, 256),
     {"matchLengthWeight": 0.5, "matchLengthScaleTokens": 256})
case(plugin, "no length without block size", [blocks(8, 16, 0)], prefix(0.5),
     {"matchLengthWeight": 0.5})
case(plugin, "a producer may be named", [blocks(1, 4)], prefix(),
     {"prefixMatchInfoProducerName": "precise-prefix-cache-producer"})
case(plugin, "the scale may be zero without weight", [blocks(1, 4)], prefix(),
     {"matchLengthScaleTokens": 0})
rejected(plugin, "a weight above 1", {"matchLengthWeight": 1.01}, "matchLengthWeight")
rejected(plugin, "a weight below 0", {"matchLengthWeight": -0.1}, "matchLengthWeight")
rejected(plugin, "a scale of zero", {"matchLengthWeight": 0.5, "matchLengthScaleTokens": 0},
         "matchLengthScaleTokens")
rejected(plugin, "a scale below zero", {"matchLengthWeight": 0.5, "matchLengthScaleTokens": -1},
         "matchLengthScaleTokens")
rejected(plugin, "an unknown parameter", {"matchWeight": 0.5}, "matchWeight")
rejected(plugin, "a producer is a text", {"prefixMatchInfoProducerName": 3}, "invalid type")
case("precise-prefix-cache-scorer", "parameters of the index have no effect",
     [blocks(1, 4), blocks(3, 4)], prefix(),
     {"tokenProcessorConfig": {"blockSize": 64}, "kvEventsConfig": {"discoverPods": True}})


def tiers(weights):
    """The blocks' weights, added one by one and cut to whole blocks."""
    def scores(endpoints):
        result = []
        for e in endpoints:
            total = e.get("total_blocks", 0)
            held = [stretch["tier"] for stretch in e.get("match_tiers", [])
                    for _ in range(stretch["blocks"])]
            match = 0.0
            for tier in held:
                match += weights.get(tier, 1.0)
            match = int(match) if e.get("match_tiers") else e.get("match_blocks", 0)
            result.append(match / total if total else 0.0)
        return result
    return scores


def held(total, **stretches):
    """An endpoint with stretches of blocks by tier; the prompt has `total` blocks."""
    return {
        "match_blocks": sum(stretches.values()),
        "total_blocks": total,
        "match_tiers": [{"tier": t, "blocks": n} for t, n in stretches.items()],
    }


def backends(*pairs):
    return {"indexerConfig": {"kvCacheBackendConfigs": [
        {"name": name, "weight": weight} for name, weight in pairs]}}


plugin = "precise-prefix-cache-scorer"
default = {"gpu": 1.0, "cpu": 0.8}
case(plugin, "tiers have weights", [held(10, gpu=10), held(10, cpu=10), held(10, gpu=5, cpu=5)],
     tiers(default))
case(plugin, "weights are added one by one", [held(100, cpu=n) for n in (1, 2, 5, 10, 15, 99)],
     tiers(default))
case(plugin, "a tier without a weight counts whole", [held(8, disk=4), held(8, gpu=2, shared=2)],
     tiers(default))
case(plugin, "names of tiers are case-sensitive", [held(8, CPU=4), held(8, cpu=4)],
     tiers(default))
case(plugin, "the order of the stretches", [held(10, cpu=3, gpu=3), held(10, gpu=3, cpu=3)],
     tiers(default))
case(plugin, "other weights", [held(6, gpu=2, cpu=1), held(6, gpu=3), held(6, cpu=6)],
     tiers({"gpu": 1.0, "cpu": 0.5}), backends(("gpu", 1.0), ("cpu", 0.5)))
case(plugin, "listed weights replace the defaults", [held(10, gpu=10), held(10, cpu=10)],
     tiers({"disk": 0.25}), backends(("disk", 0.25)))
case(plugin, "an empty list has no weights", [held(10, cpu=10)], tiers({}), backends())
case(plugin, "a weight above 1", [held(4, gpu=2), held(4, gpu=4)], tiers({"gpu": 1.5}),
     backends(("gpu", 1.5)))
case(plugin, "a negative weight", [held(4, gpu=3), held(4, cpu=3)], tiers({"gpu": -0.5}),
     backends(("gpu", -0.5)))
case(plugin, "a name listed twice", [held(4, gpu=4)], tiers({"gpu": 0.25}),
     backends(("gpu", 1.0), ("gpu", 0.25)))
case(plugin, "tiers of some endpoints only", [blocks(3, 4), held(4, cpu=3)], tiers(default))
case(plugin, "tiers without a prompt", [held(0, gpu=3)], tiers(default))
case(plugin, "a null list has the defaults", [held(10, cpu=10)], tiers(default),
     {"indexerConfig": {"kvCacheBackendConfigs": None}})
case(plugin, "a null configuration has the defaults", [held(10, cpu=10)], tiers(default),
     {"indexerConfig": None})
rejected(plugin, "a weight is a number", {"indexerConfig": {"kvCacheBackendConfigs": [
    {"name": "gpu", "weight": "1"}]}}, "invalid type")


def lora(adapter):
    def scores(endpoints):
        result = []
        for e in endpoints:
            active, waiting = e.get("active_adapters", []), e.get("waiting_adapters", [])
            if adapter in active:
                result.append(1.0)
            elif len(active) + len(waiting) < e.get("max_adapters", 0):
                result.append(0.8)
            elif adapter in waiting:
                result.append(0.6)
            else:
                result.append(0.0)
        return result

    return scores


def slots(active, waiting, most):
    return {"active_adapters": active, "waiting_adapters": waiting, "max_adapters": most}


plugin = "lora-affinity-scorer"
for name, endpoint in (
    ("the adapter is active", slots(["a"], [], 1)),
    ("there is room", slots(["b"], [], 2)),
    ("the adapter waits", slots(["b"], ["a"], 2)),
    ("the adapter waits where there is room", slots(["b"], ["a"], 3)),
    ("the slots are used", slots(["b", "c"], [], 2)),
    ("waiting adapters use slots", slots(["b"], ["c"], 2)),
    ("zero slots", slots([], [], 0)),
    ("active without slots", slots(["a"], [], 0)),
    ("waiting without slots", slots([], ["a"], 0)),
    ("active and waiting", slots(["a"], ["a"], 1)),
    ("more adapters than slots", slots(["b", "c", "d"], ["e"], 2)),
    ("no metrics", {}),
):
    case(plugin, name, [endpoint], lora("a"), request={"model": "a"})
case(plugin, "an empty pool", [], lora("a"), request={"model": "a"})
case(plugin, "a mixed pool", [slots(["a"], [], 2), slots(["b"], [], 2), slots(["b"], ["a"], 2),
                              slots(["b", "c"], [], 2)], lora("a"), request={"model": "a"})
case(plugin, "the adapter has its own field", [slots(["a"], [], 1), slots(["m"], [], 1)],
     lora("a"), request={"model": "m", "adapter": "a"})
case(plugin, "a request without a model", [slots([""], [], 1), slots([], [], 1)], lora(""))
rejected(plugin, "there are no parameters", {"threshold": 1}, "threshold")


def load_aware(threshold=128):
    def scores(endpoints):
        return [0.5 * (1 - min(e.get("waiting", 0), threshold) / threshold) for e in endpoints]

    return scores


def queues(*values):
    return [{"waiting": value} for value in values]


plugin = "load-aware-scorer"
case(plugin, "an empty pool", [], load_aware())
case(plugin, "an empty queue", queues(0), load_aware())
case(plugin, "no metrics", [{}], load_aware())
case(plugin, "half of the threshold", queues(64), load_aware())
case(plugin, "at the threshold", queues(128), load_aware())
case(plugin, "above the threshold", queues(129, 10_000), load_aware())
case(plugin, "just below the threshold", queues(127), load_aware())
case(plugin, "a mixed pool", queues(0, 2, 8, 32), load_aware())
case(plugin, "all equal", queues(5, 5), load_aware())
case(plugin, "a threshold", queues(0, 1, 5, 10, 11), load_aware(10), {"threshold": 10})
case(plugin, "a threshold of one", queues(0, 1, 2), load_aware(1), {"threshold": 1})
case(plugin, "a threshold of zero is the default", queues(1, 64), load_aware(), {"threshold": 0})
case(plugin, "a negative threshold is the default", queues(1, 64), load_aware(),
     {"threshold": -5})
rejected(plugin, "a threshold is whole", {"threshold": 1.5}, "invalid type")
rejected(plugin, "an unknown parameter", {"queueThreshold": 5}, "queueThreshold")


def active_request(idle=0, busy=1.0):
    def scores(endpoints):
        counts = [e.get("in_flight_requests", 0) for e in endpoints]
        most = max(counts, default=0)
        return [1.0 if c <= idle else (most - c) / most * busy for c in counts]

    return scores


def in_flight(*values):
    return [{"in_flight_requests": value} for value in values]


plugin = "active-request-scorer"
case(plugin, "an empty pool", [], active_request())
case(plugin, "all idle", in_flight(0, 0), active_request())
case(plugin, "no counts", [{}, {}], active_request())
case(plugin, "one busy endpoint", in_flight(3), active_request())
case(plugin, "all equally busy", in_flight(4, 4, 4), active_request())
case(plugin, "a mixed pool", in_flight(0, 1, 2, 4), active_request())
case(plugin, "engine metrics have no effect", [{"running": 9, "waiting": 9}, {
    "in_flight_requests": 2}], active_request())
case(plugin, "idle up to a threshold", in_flight(0, 2, 3, 6), active_request(2),
     {"idleThreshold": 2})
case(plugin, "all below the threshold", in_flight(1, 2), active_request(5), {"idleThreshold": 5})
case(plugin, "a negative threshold is zero", in_flight(0, 1, 2), active_request(),
     {"idleThreshold": -1})
case(plugin, "a gap below idle endpoints", in_flight(0, 1, 4), active_request(0, 0.5),
     {"maxBusyScore": 0.5})
case(plugin, "busy endpoints score zero", in_flight(0, 1, 4), active_request(0, 0.0),
     {"maxBusyScore": 0.0})
case(plugin, "a busy score above 1 is ignored", in_flight(1, 4), active_request(),
     {"maxBusyScore": 1.5})
case(plugin, "a busy score below 0 is ignored", in_flight(1, 4), active_request(),
     {"maxBusyScore": -0.5})
case(plugin, "both parameters", in_flight(1, 2, 3, 8), active_request(1, 0.25),
     {"idleThreshold": 1, "maxBusyScore": 0.25})
case(plugin, "deprecated parameters are accepted", in_flight(1, 4), active_request(),
     {"requestTimeout": "2m", "inFlightLoadProducerName": "inflight-load-producer"})
rejected(plugin, "an unknown parameter", {"busyScore": 1}, "busyScore")


def token_load(threshold=4_194_304):
    def scores(endpoints):
        result = []
        for e in endpoints:
            tokens = e.get("in_flight_tokens", 0) + e.get("uncached_tokens", 0)
            result.append(1 - min(tokens, threshold) / threshold)
        return result

    return scores


def tokens(in_flight, uncached=0):
    return {"in_flight_tokens": in_flight, "uncached_tokens": uncached}


plugin = "token-load-scorer"
case(plugin, "an empty pool", [], token_load())
case(plugin, "an idle endpoint", [tokens(0)], token_load())
case(plugin, "no counts", [{}], token_load())
case(plugin, "half of the threshold", [tokens(2_097_152)], token_load())
case(plugin, "the threshold", [tokens(4_194_304)], token_load())
case(plugin, "above the threshold", [tokens(5_000_000), tokens(2**50)], token_load())
case(plugin, "this request counts", [tokens(0, 2_097_152), tokens(1_048_576, 1_048_576)],
     token_load())
case(plugin, "the cached part does not", [tokens(1000, 0), tokens(1000, 8000)], token_load())
case(plugin, "all equal", [tokens(7, 7), tokens(7, 7)], token_load())
case(plugin, "a threshold", [tokens(0), tokens(250), tokens(900, 100), tokens(1001)],
     token_load(1000), {"queueThresholdTokens": 1000})
case(plugin, "a threshold of zero is the default", [tokens(1_048_576)], token_load(),
     {"queueThresholdTokens": 0})
case(plugin, "a negative threshold is the default", [tokens(1_048_576)], token_load(),
     {"queueThresholdTokens": -1})
case(plugin, "a producer may be named", [tokens(1_048_576)], token_load(),
     {"inFlightLoadProducerName": "x"})
rejected(plugin, "an unknown parameter", {"queueThreshold": 5}, "queueThreshold")


def context(length, label="llm-d.ai/context-length-range"):
    def score(endpoint):
        text = endpoint.get("labels", {}).get(label)
        if text is None:
            return 0.5
        try:
            low, high = (int(part) for part in text.split("-"))
        except ValueError:
            return 0.0
        if low > high:
            return 0.0
        if not low <= length <= high:
            return 0.3 / (1 + max(low - length, length - high) / 1000)
        width = high - low
        if width == 0:
            return 1.0
        return 0.3 + 0.7 * (0.7 / (1 + width / 10_000) + 0.3 * (high - length) / width)

    return lambda endpoints: [score(e) for e in endpoints]


def ranges(*labels):
    return [{"labels": {"llm-d.ai/context-length-range": label}} for label in labels]


plugin = "context-length-aware"
case(plugin, "an empty pool", [], context(100), request={"prompt_tokens": 100})
case(plugin, "no label", [{}, {"labels": {"other": "0-10"}}], context(5),
     request={"prompt_tokens": 5})
for length in (0, 1, 2048, 2049, 8192, 8193, 1_000_000):
    case(plugin, f"a prompt of {length} tokens", ranges("0-2048", "2048-8192", "8192-131072"),
         context(length), request={"prompt_tokens": length})
case(plugin, "a range of one length", ranges("512-512"), context(512),
     request={"prompt_tokens": 512})
case(plugin, "beside a range of one length", ranges("512-512"), context(513),
     request={"prompt_tokens": 513})
case(plugin, "labels that are no range", ranges("", "abc", "10", "10-", "-10", "1-2-3", "20-10",
                                                "0-x", "1.5-2"), context(5),
     request={"prompt_tokens": 5})
case(plugin, "white space and signs", ranges(" 0 - 2048 ", "+1-+9"), context(5),
     request={"prompt_tokens": 5})
case(plugin, "a number that is too large", ranges("0-99999999999999999999"), [0.0],
     request={"prompt_tokens": 5})
case(plugin, "an unknown length", ranges("0-100", "1-100"), context(0))
case(plugin, "another label", [{"labels": {"ctx": "0-100"}}, *ranges("0-100")],
     context(10, "ctx"), {"label": "ctx"}, {"prompt_tokens": 10})
case(plugin, "filtering does not change scores", ranges("0-10", "20-30"), context(25),
     {"enableFiltering": True}, {"prompt_tokens": 25})
rejected(plugin, "an empty label", {"label": ""}, "label")
rejected(plugin, "an unknown parameter", {"filter": True}, "filter")


def no_hit_lru(endpoints):
    if any(e.get("match_blocks", 0) > 0 for e in endpoints):
        return [0.5] * len(endpoints)
    if len(endpoints) == 1:
        return [1.0]
    never = [e for e in endpoints if e.get("cold_position") is None]
    result, seen = [], 0
    for e in endpoints:
        position = e.get("cold_position")
        if position is None:
            rank, seen = seen, seen + 1
        else:
            rank = len(never) + position
        result.append(max(0.0, 1 - rank / (len(endpoints) - 1)))
    return result


def cold(*positions):
    return [{} if p is None else {"cold_position": p} for p in positions]


plugin = "no-hit-lru-scorer"
case(plugin, "an empty pool", [], no_hit_lru)
case(plugin, "one endpoint", cold(None), no_hit_lru)
case(plugin, "one endpoint that was used", cold(3), no_hit_lru)
case(plugin, "one endpoint with a match", [blocks(1, 2)], no_hit_lru)
case(plugin, "none was used", cold(None, None, None), no_hit_lru)
case(plugin, "all were used", cold(2, 0, 1), no_hit_lru)
case(plugin, "unused ones come first", cold(0, None, 1, None), no_hit_lru)
case(plugin, "two endpoints", cold(1, 0), no_hit_lru)
case(plugin, "positions count endpoints that are not candidates", cold(7, 3, 900), no_hit_lru)
case(plugin, "a match anywhere scores all equal", [{"cold_position": 0}, blocks(1, 9), {}],
     no_hit_lru)
case(plugin, "blocks without a match are cold", [blocks(0, 9), blocks(0, 9)], no_hit_lru)
case(plugin, "parameters without effect are accepted", cold(None, 0), no_hit_lru,
     {"lruSize": 16, "prefixPluginType": "x", "prefixPluginName": "y",
      "prefixMatchInfoProducerName": "z"})
case(plugin, "a size that is not positive", cold(None, 0), no_hit_lru, {"lruSize": -1})
rejected(plugin, "an unknown parameter", {"size": 5}, "size")


def token(name):
    return base64.b64encode(name.encode()).decode()


plugin = "session-affinity-scorer"
pods = [{"name": "default/pod-a"}, {"name": "default/pod-b"}]
to_b = {"headers": {"x-session-token": token("default/pod-b")}}
case(plugin, "an empty pool", [], [], request=to_b)
case(plugin, "no header", pods, [0.0, 0.0])
case(plugin, "the token names an endpoint", pods, [0.0, 1.0], request=to_b)
case(plugin, "the token names an endpoint that left", pods, [0.0, 0.0],
     request={"headers": {"x-session-token": token("default/pod-z")}})
for name, text in (("is empty", ""), ("is no Base64", "%%%"), ("lacks its padding", "ZGVmYXVsdA"),
                   ("is the plain name", "default/pod-b")):
    case(plugin, f"a token that {name}", pods, [0.0, 0.0],
         request={"headers": {"x-session-token": text}})
case(plugin, "a token of an empty name", [{"name": ""}], [0.0],
     request={"headers": {"x-session-token": ""}})
case(plugin, "line breaks in a token do not count", pods, [0.0, 1.0],
     request={"headers": {"x-session-token": "\n" + token("default/pod-b") + "\r\n"}})
case(plugin, "another header", pods, [0.0, 1.0],
     {"encodedEndpointHeaderConfig": {"header": " X-Sticky "}},
     {"headers": {"x-sticky": token("default/pod-b")}})
case(plugin, "bound by the host", [{"session_bound": True}, {}], [1.0, 0.0])
ids = {"strategy": "session_id"}
case(plugin, "bound by an identifier", [{}, {"session_bound": True}], [0.0, 1.0], ids,
     {"headers": {"x-session-id": "s1"}})
case(plugin, "an identifier that is not bound", pods, [0.0, 0.0], ids,
     {"headers": {"x-session-id": "s1"}})
case(plugin, "identifiers ignore tokens", pods, [0.0, 0.0], ids, to_b)
case(plugin, "sources of identifiers", pods, [0.0, 0.0],
     {"strategy": "session_id", "profileName": "prefill",
      "sessionIdConfig": {"sources": [{"header": "x-a"}, {"attribute": "b", "producer": "c"}],
                          "evictionTtlSeconds": 60, "evictionSweepSeconds": 1.5}})
rejected(plugin, "an unknown strategy", {"strategy": "cookie"}, "cookie")
rejected(plugin, "a source without a place",
         {"strategy": "session_id", "sessionIdConfig": {"sources": [{}]}}, "sources")
rejected(plugin, "a source with two places",
         {"strategy": "session_id",
          "sessionIdConfig": {"sources": [{"header": "a", "attribute": "b"}]}}, "sources")
rejected(plugin, "a negative TTL",
         {"strategy": "session_id", "sessionIdConfig": {"evictionTtlSeconds": -1}},
         "evictionTtlSeconds")
rejected(plugin, "a negative sweep",
         {"strategy": "session_id", "sessionIdConfig": {"evictionSweepSeconds": -1}},
         "evictionSweepSeconds")
case(plugin, "the other strategy is not checked", pods, [0.0, 0.0],
     {"sessionIdConfig": {"sources": [{}], "evictionTtlSeconds": -1}})

plugin = "header-label-affinity-scorer"
keys = {"headerName": "X-Zone", "labelKey": "zone"}
zones = [{"labels": {"zone": "a"}}, {"labels": {"zone": "b"}}, {"labels": {"other": "a"}}, {}]
for name, request, expected in (
    ("a label equals the header", {"headers": {"x-zone": "a"}}, [1.0, 0.0, 0.0, 0.0]),
    ("no label equals the header", {"headers": {"x-zone": "c"}}, [0.0] * 4),
    ("no header", {}, [0.0] * 4),
    ("another header", {"headers": {"zone": "a"}}, [0.0] * 4),
    ("the value's case counts", {"headers": {"x-zone": "A"}}, [0.0] * 4),
    ("the value's white space counts", {"headers": {"x-zone": " a"}}, [0.0] * 4),
):
    case(plugin, name, zones, expected, keys, request)
case(plugin, "an empty pool", [], [], keys, {"headers": {"x-zone": "a"}})
case(plugin, "an empty header equals no label", [{"labels": {"zone": ""}}], [0.0], keys,
     {"headers": {"x-zone": ""}})
case(plugin, "all have the label", [zones[0], zones[0]], [1.0, 1.0], keys,
     {"headers": {"x-zone": "a"}})
rejected(plugin, "parameters are required", None, "headerName")
rejected(plugin, "a header is required", {"labelKey": "zone"}, "headerName")
rejected(plugin, "a label is required", {"headerName": "x"}, "labelKey")
rejected(plugin, "a header is not empty", {"headerName": "", "labelKey": "zone"}, "headerName")
rejected(plugin, "a label is not empty", {"headerName": "x", "labelKey": ""}, "labelKey")
rejected(plugin, "an unknown parameter", {**keys, "default": "a"}, "default")


def attribute(lower, low=None, high=None):
    def scores(endpoints):
        values = [e.get("attributes", {}).get("m") for e in endpoints]
        known = [v for v in values if v is not None]
        result = []
        for value in values:
            if value is None:
                result.append(0.0)
            elif low is not None:
                share = max(0.0, min(1.0, (value - low) / (high - low)))
                result.append(1 - share if lower else share)
            elif max(known) == min(known):
                result.append(1.0)
            else:
                share = (value - min(known)) / (max(known) - min(known))
                result.append(1 - share if lower else share)
        return result

    return scores


def metric(*values):
    return [{} if v is None else {"attributes": {"m": v}} for v in values]


plugin = "endpoint-attribute-scorer"
for lower in (True, False):
    kind = "linear_lower_is_better" if lower else "linear_higher_is_better"
    adaptive = {"attributeKey": "m", "algorithm": {"type": kind}}
    fixed = {"attributeKey": "m", "algorithm": {
        "type": kind, "normalization": {"fixedRange": {"min": -10, "max": 30}}}}
    case(plugin, f"{kind}: an empty pool", [], [], adaptive)
    case(plugin, f"{kind}: the range of the pool", metric(3, 9, 5), attribute(lower), adaptive)
    case(plugin, f"{kind}: a value is missing", metric(3, None, 5), attribute(lower), adaptive)
    case(plugin, f"{kind}: all equal", metric(4, 4), attribute(lower), adaptive)
    case(plugin, f"{kind}: one value", metric(None, 4), attribute(lower), adaptive)
    case(plugin, f"{kind}: no values", metric(None, None), attribute(lower), adaptive)
    case(plugin, f"{kind}: negative values", metric(-3, -1, 0.5), attribute(lower), adaptive)
    case(plugin, f"{kind}: a fixed range", metric(-10, 0, 10, 30), attribute(lower, -10, 30), fixed)
    case(plugin, f"{kind}: outside a fixed range", metric(-11, 31, 1e300),
         attribute(lower, -10, 30), fixed)
    case(plugin, f"{kind}: a value is missing in a fixed range", metric(None, 20),
         attribute(lower, -10, 30), fixed)
    case(plugin, f"{kind}: equal values in a fixed range", metric(20, 20),
         attribute(lower, -10, 30), fixed)
case(plugin, "the adaptive range may be named", metric(1, 2, 3), attribute(True), {
    "attributeKey": "m", "algorithm": {
        "type": "linear_lower_is_better", "normalization": {"adaptiveRange": {}}}})
case(plugin, "a slash needs a producer", [{"attributes": {"a/m": 1}}, {"attributes": {"a/m": 2}}],
     [1.0, 0.0], {"attributeKey": "a/m", "producer": "",
                  "algorithm": {"type": "linear_lower_is_better"}})
lowest = {"type": "linear_lower_is_better"}
rejected(plugin, "parameters are required", None, "attributeKey")
rejected(plugin, "an attribute is required", {"algorithm": lowest}, "attributeKey")
rejected(plugin, "an attribute is not empty", {"attributeKey": "", "algorithm": lowest},
         "attributeKey")
rejected(plugin, "an algorithm is required", {"attributeKey": "m"}, "algorithm")
rejected(plugin, "an unknown algorithm", {"attributeKey": "m", "algorithm": {"type": "linear"}},
         "linear")
rejected(plugin, "an attribute with a producer in its name",
         {"attributeKey": "m/core", "algorithm": lowest}, "producer")
for low, high in ((1, 1), (2, 1)):
    rejected(plugin, f"a range from {low} to {high}", {"attributeKey": "m", "algorithm": {
        **lowest, "normalization": {"fixedRange": {"min": low, "max": high}}}}, "fixedRange")
rejected(plugin, "two ranges", {"attributeKey": "m", "algorithm": {
    **lowest, "normalization": {"fixedRange": {"min": 0, "max": 1}, "adaptiveRange": {}}}},
    "at most one")
rejected(plugin, "an unknown parameter", {"attribute": "m", "attributeKey": "m",
                                          "algorithm": lowest}, "attribute")

plugin = "topology-affinity-scorer"
peer = {"host": "h", "rack": "r", "zone": "z", "region": "g"}
near = {"peer": peer}


def at(**names):
    return {"topology": names}


for name, endpoint, expected in (
    ("the same host", at(**peer), 1.0),
    ("the same rack", at(host="x", rack="r", zone="z", region="g"), 0.2),
    ("the same zone", at(host="x", rack="x", zone="z", region="g"), 0.05),
    ("the same region", at(host="x", rack="x", zone="x", region="g"), 0.02),
    ("nothing in common", at(host="x", rack="x", zone="x", region="x"), 0.0),
    ("an unknown place", {}, 0.0),
    ("the host decides over the rest", at(host="h", rack="x", zone="x", region="x"), 1.0),
    ("an unknown host", at(rack="r"), 0.2),
    ("names of other levels do not count", at(host="r", rack="z", zone="g", region="h"), 0.0),
):
    case(plugin, name, [endpoint], [expected], request=near)
case(plugin, "no peer", [at(**peer)], [0.0])
case(plugin, "empty names equal nothing", [{}, at(host="")], [0.0, 0.0],
     request={"peer": {}})
case(plugin, "an empty pool", [], [], request=near)
case(plugin, "a mixed pool", [at(**peer), at(zone="z"), {}], [1.0, 0.05, 0.0],
     {"topologyProducerName": "topology-extractor"}, near)
rejected(plugin, "an unknown parameter", {"minAffinity": "host"}, "minAffinity")

plugin = "mm-embeddings-cache-scorer"


def media(total):
    return lambda endpoints: [e.get("media_match", 0) / total if total else 0.0 for e in endpoints]


for name, total, matches in (
    ("an empty pool", 100, []),
    ("nothing is cached", 100, [0, 0]),
    ("all is cached", 100, [100]),
    ("parts are cached", 3_000_000, [1_000_000, 2_000_000, 10]),
    ("a request without media", 0, [0, 0]),
    ("a match without media", 0, [10]),
    ("more than the request has", 100, [150]),
    ("all equal", 64, [16, 16, 16]),
    ("one byte", 1, [1, 0]),
):
    case(plugin, name, [{"media_match": m} for m in matches], media(total),
         request={"media": total})
case(plugin, "a producer may be named", [{"media_match": 5}], media(10), {"producerName": "x"},
     {"media": 10})
rejected(plugin, "an unknown parameter", {"producer": "x"}, "producer")


def latency(ttft=0.8, tpot=0.2, strategy="least", kv=1.0, queue=1.0, match=1.0):
    def composite(endpoints):
        most = max((e.get("waiting", 0) for e in endpoints), default=0)
        total = kv + queue + match
        shares = (kv / total, queue / total, match / total) if total > 0 else (1.0, 0.0, 0.0)
        result = []
        for e in endpoints:
            short = (most - e.get("waiting", 0)) / most if most else 1.0
            blocks = e.get("total_blocks", 0)
            cached = e.get("match_blocks", 0) / blocks if blocks else 0.0
            parts = (1 - e.get("kv_usage", 0.0), short, cached)
            value = 100 * sum(a * b for a, b in zip(shares, parts))
            # Halves go away from zero.
            rounded = int(value + 0.5) if value >= 0 else -int(-value + 0.5)
            result.append(rounded / 100)
        return result

    def group(prediction):
        if prediction is None:
            return 0
        first, later = prediction.get("ttft_headroom", 0), prediction.get("tpot_headroom", 0)
        if first >= 0 and later >= 0:
            return 0
        if prediction.get("dispatched_requests", 0) == 0:
            return 1
        return 2 if first >= 0 else 3 if later >= 0 else 4

    def scores(endpoints):
        predictions = [e.get("prediction") for e in endpoints]
        if all(p is None for p in predictions):
            return composite(endpoints)
        best = min(map(group, predictions))
        chosen = [p or {} for p in predictions if group(p) == best]
        rooms = [[abs(p.get(key, 0)) for p in chosen] for key in ("ttft_headroom", "tpot_headroom")]
        low, high = [min(r) for r in rooms], [max(r) for r in rooms]
        flat = [h - l <= 1e-9 for l, h in zip(low, high)]
        if flat == [True, False]:
            weights = (0.0, 1.0)
        elif flat == [False, True]:
            weights = (1.0, 0.0)
        elif ttft + tpot <= 0:
            weights = (1.0, 0.0)
        else:
            weights = (ttft / (ttft + tpot), tpot / (ttft + tpot))
        result = []
        for p in predictions:
            if group(p) != best:
                result.append(0.0)
                continue
            combined = 0.0
            for at, key in enumerate(("ttft_headroom", "tpot_headroom")):
                room = abs((p or {}).get(key, 0))
                share = 0.5 if flat[at] else (room - low[at]) / (high[at] - low[at])
                combined += weights[at] * share
            preferred = combined if strategy == "most" and best == 0 else 1 - combined
            result.append((int(preferred * 100) + 1) / 100)
        return result

    return scores


def room(first, later, dispatched=1):
    return {"prediction": {"ttft_headroom": first, "tpot_headroom": later,
                           "dispatched_requests": dispatched}}


plugin = "latency-scorer"
most = {"headroomSelectionStrategy": "most"}
case(plugin, "an empty pool", [], [])
case(plugin, "one endpoint meets its level", [room(100, 10)], latency())
case(plugin, "the least headroom is preferred", [room(100, 10), room(50, 5), room(10, 1)],
     latency())
case(plugin, "the most headroom is preferred", [room(100, 10), room(50, 5), room(10, 1)],
     latency(strategy="most"), most)
case(plugin, "an unknown strategy is least", [room(100, 10), room(50, 5)], latency(),
     {"headroomSelectionStrategy": "median"})
case(plugin, "all equal", [room(10, 2), room(10, 2)], latency())
case(plugin, "equal first tokens leave the later ones", [room(10, 1), room(10, 3), room(10, 4)],
     latency())
case(plugin, "equal later tokens leave the first ones", [room(10, 1), room(30, 1), room(17, 1)],
     latency())
case(plugin, "endpoints that miss score zero", [room(10, 1), room(-1, 1), room(20, -1),
                                                room(30, 2)], latency())
case(plugin, "no prediction counts as met", [room(-10, 1), {}, room(-5, 1)], latency())
case(plugin, "idle endpoints first", [room(-10, -1), room(-50, -5, 0), room(-20, -2, 0)],
     latency())
case(plugin, "later tokens missed are better than first ones",
     [room(-1, 5), room(3, -20), room(9, -10), room(-1, -1)], latency())
case(plugin, "first tokens missed are better than both", [room(-9, 5), room(-1, 3), room(-1, -1)],
     latency())
case(plugin, "both missed", [room(-100, -10), room(-50, -5), room(-10, -9)], latency())
case(plugin, "a deficit is least whatever the strategy", [room(-100, -10), room(-50, -5)],
     latency(strategy="most"), most)
case(plugin, "weights", [room(100, 1), room(50, 9), room(10, 4)], latency(1, 3),
     {"ttftWeight": 1, "tpotWeight": 3})
case(plugin, "weights without a positive sum", [room(100, 1), room(50, 9), room(10, 4)],
     latency(0, 0), {"ttftWeight": 0, "tpotWeight": 0})
case(plugin, "differences below the resolution", [room(1, 1), room(1 + 1e-12, 2)], latency())
fallback = [{"kv_usage": 0.5, "waiting": 4, **blocks(1, 4)}, {"kv_usage": 0.2, "waiting": 1},
            {"kv_usage": 0.9, "waiting": 0, **blocks(4, 4)}]
case(plugin, "without predictions", fallback, latency())
case(plugin, "without predictions and queues", [{"kv_usage": 0.31}, {"kv_usage": 0.77}], latency())
case(plugin, "without predictions and metrics", [{}, {}], latency())
case(plugin, "composite weights", fallback, latency(kv=2, queue=1, match=5),
     {"compositeKVWeight": 2, "compositeQueueWeight": 1, "compositePrefixWeight": 5})
case(plugin, "composite weights of zero leave the cache", fallback, latency(kv=0, queue=0, match=0),
     {"compositeKVWeight": 0, "compositeQueueWeight": 0, "compositePrefixWeight": 0})
case(plugin, "a usage above 1", [{"kv_usage": 3.5}, {"kv_usage": 1.125}],
     latency(kv=1, queue=0, match=0), {"compositeQueueWeight": 0, "compositePrefixWeight": 0})
case(plugin, "producers may be named", [room(100, 10), room(50, 5)], latency(),
     {"latencyPredictionInfoProducerName": "x", "prefixMatchInfoProducerName": "y"})
rejected(plugin, "an unknown parameter", {"weight": 1}, "weight")

rejected("quue-scorer", "an unknown plugin", {}, "quue-scorer")


def main():
    lines = ",\n".join("  " + json.dumps(entry) for entry in CASES)
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text('{"kind": "scorer", "cases": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
