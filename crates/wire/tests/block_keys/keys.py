#!/usr/bin/env python3
"""Writes keys.json with hashes by Python's packages xxhash and cbor2, apart from the crate.

Keys and hashes follow the reference's definitions, names vLLM's ``hash_block_tokens``.
"""

import json
import pathlib
import pickle
import struct

import cbor2
import xxhash

CASES = []
MASK = (1 << 64) - 1


def case(name, function, expected, **arguments):
    CASES.append({"name": name, "function": function, **arguments, "expected": expected})


def text(number):
    """64 bits do not fit into a JSON number of every language."""
    return f"{number:016x}"


# The approximate prefix cache.


def pack(prompt):
    prompt += bytes(-len(prompt) % 4)
    return list(struct.unpack(f"<{len(prompt) // 4}I", prompt))


def approximate(model, salt, tokens, size, most):
    parent = xxhash.xxh64_intdigest(model.encode() + salt.encode())
    hashes = []
    for at in range(0, len(tokens), size):
        if len(hashes) == most:
            break
        block = tokens[at : at + size]
        identity = xxhash.xxh64_intdigest(struct.pack(f"<{len(block)}I", *block))
        parent = xxhash.xxh64_intdigest(struct.pack("<QQ", identity, parent))
        hashes.append(text(parent))
    return hashes


for prompt in ("", "a", "abcd", "abcde", "Grüße, 世界"):
    case(f"packing {prompt!r}", "pack_tokens", pack(prompt.encode()), prompt=prompt)

SENTENCE = "The quick brown fox jumps over the lazy dog. " * 12
for name, model, salt, tokens, size, most in (
    ("no tokens", "llama", "", [], 64, 2048),
    ("one token", "llama", "", [1], 64, 2048),
    ("a part of a block", "llama", "", list(range(63)), 64, 2048),
    ("one block", "llama", "", list(range(64)), 64, 2048),
    ("a part after a block", "llama", "", list(range(65)), 64, 2048),
    ("several blocks", "llama", "", list(range(1000, 1256)), 64, 2048),
    ("text", "llama", "", pack(SENTENCE.encode()), 64, 2048),
    ("another model", "qwen", "", pack(SENTENCE.encode()), 64, 2048),
    ("no model", "", "", pack(SENTENCE.encode()), 64, 2048),
    ("a salt", "llama", "tenant-7", pack(SENTENCE.encode()), 64, 2048),
    ("a salt joins the model", "llamatenant-7", "", pack(SENTENCE.encode()), 64, 2048),
    ("large blocks", "llama", "", list(range(600)), 256, 2048),
    ("small blocks", "llama", "", list(range(10)), 4, 2048),
    ("at most two blocks", "llama", "", list(range(1000)), 64, 2),
    ("at most no blocks", "llama", "", list(range(100)), 64, 0),
    ("large ids", "llama", "", [2**32 - 1, 2**31, 0] * 30, 64, 2048),
):
    case(name, "approximate", approximate(model, salt, tokens, size, most), model=model,
         cache_salt=salt, tokens=tokens, block_tokens=size, max_blocks=most)

for engine, expected in ((None, 64), (0, 64), (16, 64), (64, 64), (65, 65), (128, 128)):
    case(f"an engine's blocks of {engine}", "block_tokens", expected, engine=engine)


# The precise prefix cache.


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & MASK
    return value


def cbor_fnv(parent, tokens, extra):
    return fnv1a(cbor2.dumps([parent, tokens, extra], canonical=True))


def xxh64(parent, tokens, extra):
    data = struct.pack("<Q", parent) + struct.pack(f"<{len(tokens)}I", *tokens)
    for each in extra:
        data += struct.pack("<Q", len(each.encode())) + each.encode()
    return xxhash.xxh64_intdigest(data)


def keys(algorithm, seed, model, parent, tokens, size, extra):
    if algorithm == "xxh64":
        start = xxhash.xxh64_intdigest(seed.encode())
        previous = parent or xxh64(start, [], [model])
    else:
        previous = parent or cbor_fnv(fnv1a(seed.encode()), None, model)
    result = []
    for at in range(len(tokens) // size):
        block = tokens[at * size : (at + 1) * size]
        more = extra[at] if extra else []
        if algorithm == "xxh64":
            previous = xxh64(previous, block, more)
        else:
            previous = cbor_fnv(previous, block, [{"Hash": each} for each in more] or None)
        result.append(text(previous))
    return result


for algorithm in ("cbor-fnv", "xxh64"):
    for name, seed, model, parent, tokens, size, extra in (
        ("no full block", "", "llama", 0, list(range(15)), 16, []),
        ("one block", "", "llama", 0, list(range(16)), 16, []),
        ("partial blocks have no key", "", "llama", 0, list(range(40)), 16, []),
        ("another model", "", "qwen/Qwen3-32B", 0, list(range(32)), 16, []),
        ("no model", "", "", 0, list(range(32)), 16, []),
        ("a seed", "42", "llama", 0, list(range(32)), 16, []),
        ("a parent", "", "llama", 999_999, list(range(32)), 16, []),
        ("a large parent", "", "llama", MASK, [1, 2], 2, []),
        ("blocks of one token", "", "llama", 0, [0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1],
         1, []),
        ("large blocks", "", "llama", 0, list(range(1000, 1600)), 256, []),
        ("media", "", "llama", 0, list(range(8)), 4, [["image-1"], []]),
        ("several media", "", "llama", 0, list(range(8)), 4, [["a", "b"], ["b", "Grüße"]]),
    ):
        case(f"{algorithm}: {name}", "request_keys",
             keys(algorithm, seed, model, parent, tokens, size, extra), algorithm=algorithm,
             seed=seed, model=model, parent=text(parent), tokens=tokens, block_tokens=size,
             extra_keys=extra)

# Tokens and keys that the reference computed itself: the golden values of its end-to-end tests
# with a tokenizer, for text and for an image. The last key of a prompt covers all before it.
CAPITAL = [8197, 438, 322, 18926, 432, 45600, 49]
IMAGE = [
    151644, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151645, 198, 151644, 872, 198, 151652,
    *[151655] * 391,
    151653, 3838, 374, 304, 419, 2168, 30, 151645, 198, 151644, 77091, 198,
]
IMAGE_HASH = "f9a38a66df90291515d7ea4de3175b262c1da7668ad1cc32e3dbb98be86388ac"
# The image's placeholders are 391 tokens from the 15th.
IMAGE_BLOCKS = [[IMAGE_HASH] if at + 4 > 15 and at < 15 + 391 else []
                for at in range(0, len(IMAGE) - 3, 4)]
for name, model, tokens, extra, first, last in (
    ("text", "ibm-granite/granite-3.1-8b-instruct", CAPITAL, [],
     1334984470577408192, 1334984470577408192),
    ("an image", "Qwen/Qwen2-VL-2B-Instruct", IMAGE, IMAGE_BLOCKS,
     0xC3BF05790F422F47, 0xB34057DD9ECEC7FD),
):
    computed = keys("cbor-fnv", "", model, 0, tokens, 4, extra)
    assert (computed[0], computed[-1]) == (text(first), text(last)), name
    case(f"the reference's own keys: {name}", "request_keys", computed, algorithm="cbor-fnv",
         seed="", model=model, parent=text(0), tokens=tokens, block_tokens=4, extra_keys=extra)


def mapping(engine, request):
    """By whole ratios, written apart from the proportional rule."""
    if len(engine) >= len(request):
        several = len(engine) // len(request)
        return {text(key): [text(request[at // several])] for at, key in enumerate(engine)}
    several = len(request) // len(engine)
    return {text(key): [text(each) for each in request[at * several : (at + 1) * several]]
            for at, key in enumerate(engine)}


for name, engine, request in (
    ("one to one", [1, 2, 3], [10, 20, 30]),
    ("one pair", [1], [10]),
    ("four to one", [1, 2, 3, 4], [10]),
    ("four to two", [1, 2, 3, 4], [10, 20]),
    ("one to four", [1], [10, 20, 30, 40]),
    ("two to six", [7, 8], [10, 20, 30, 40, 50, 60]),
):
    case(name, "map_engine_keys", mapping(engine, request), engine=[text(e) for e in engine],
         request=[text(r) for r in request])
for name, engine, request, expected in (
    ("no engine keys", [], [10], {}),
    ("no request keys", [1], [], {}),
    ("three to two", [1, 2, 3], [10, 20], {1: [10], 2: [10], 3: [20]}),
    ("two to three", [1, 2], [10, 20, 30], {1: [10, 20], 2: [30]}),
    ("a key twice", [1, 1], [10, 20], {1: [10, 20]}),
):
    case(name, "map_engine_keys",
         {text(key): [text(each) for each in values] for key, values in expected.items()},
         engine=[text(e) for e in engine], request=[text(r) for r in request])

for topic, pod, model in (
    ("kv@10.0.0.7@llama", "10.0.0.7", "llama"),
    ("kv@default/pod-a@org/model", "default/pod-a", "org/model"),
    ("kv@10.0.0.7:8000@m", "10.0.0.7:8000", "m"),
    ("any@pod@m", "pod", "m"),
    ("kv@@", "", ""),
    ("kv@pod", "kv@pod", ""),
    ("kv@pod@m@1", "kv@pod@m@1", ""),
    ("kv-events", "kv-events", ""),
    ("", "", ""),
):
    case(f"the topic {topic!r}", "topic", {"pod": pod, "model": model}, topic=topic)


# vLLM's names.


def vllm(algorithm, seed, tokens, size, extra):
    def name(value):
        if algorithm == "xxhash_cbor":
            return xxhash.xxh3_128_digest(cbor2.dumps(value, canonical=True))
        return xxhash.xxh3_128_digest(pickle.dumps(value, protocol=5))

    parent, names = name(seed), []
    for at in range(len(tokens) // size):
        block = tuple(tokens[at * size : (at + 1) * size])
        parent = name((parent, block, extra(at)))
        names.append(parent.hex())
    return names


for algorithm in ("xxhash", "xxhash_cbor"):
    for name, seed, tokens, size, arguments, extra in (
        ("text", "42", list(range(40)), 16, {}, lambda at: None),
        ("another seed", "0", list(range(40)), 16, {}, lambda at: None),
        ("large ids", "42", [0, 255, 256, 65_535, 65_536, 2**31 - 1], 2, {}, lambda at: None),
        ("a long block", "42", list(range(300)), 300, {}, lambda at: None),
        ("an adapter", "42", list(range(8)), 4, {"adapter": "sql", "adapter_path": "/adapters/sql"},
         lambda at: (("lora", "sql", "/adapters/sql"),)),
        ("a salt", "42", list(range(8)), 4, {"cache_salt": "tenant"},
         lambda at: (("cache_salt", "tenant"),) if at == 0 else None),
    ):
        case(f"{algorithm}: {name}", "vllm", vllm(algorithm, seed, tokens, size, extra),
             algorithm=algorithm, seed=seed, tokens=tokens, block_tokens=size, **arguments)


def main():
    lines = ",\n".join("  " + json.dumps(entry, ensure_ascii=False) for entry in CASES)
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text('{"cases": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
