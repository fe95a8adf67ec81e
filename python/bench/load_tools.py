"""A multi-turn load of aiperf through the gateway: its report beside the gateway's own figures.

    python -m venv /tmp/aiperf && /tmp/aiperf/bin/pip install aiperf==0.13.0
    python bench/load_tools.py --aiperf /tmp/aiperf/bin [--conversations 8] [--turns 3]

The engines are those of the demonstration. The rows must agree: requests exactly, the
times to the first token up to the time between client and dispatch. Exits with 1 if they do not.

aiperf needs a tokenizer. A folder that ``tokenizers`` writes needs no network, if its path is
absolute and ``HF_HUB_OFFLINE`` is not set: with it, aiperf takes the path for a name on the hub.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TOKENIZER = """
import sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False)
made = Tokenizer(models.BPE())
made.pre_tokenizer, made.decoder = bytes_of, decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
made.train_from_iterator([], trainer)
PreTrainedTokenizerFast(
    tokenizer_object=made, bos_token="<s>", eos_token="</s>"
).save_pretrained(sys.argv[1])
"""
SLACK = 500.0
"""Milliseconds that the mean time may be longer for the client than after the dispatch."""


def command(options: argparse.Namespace, url: str, folder: Path) -> list[str]:
    """The command of aiperf."""
    return [
        str(options.aiperf / "aiperf"), "profile", "--model", "demo", "--url", url,
        *("--endpoint-type", "chat", "--streaming", "--tokenizer", str(folder / "tokenizer")),
        *("--conversation-num", str(options.conversations), "--concurrency", "4"),
        *("--conversation-turn-mean", str(options.turns), "--conversation-turn-stddev", "0"),
        *("--synthetic-input-tokens-mean", "60", "--output-tokens-mean", "16"),
        *("--ui", "none", "--no-gpu-telemetry", "--no-server-metrics"),
        *("--output-artifact-dir", str(folder)),
    ]  # fmt: skip


async def measure(options: argparse.Namespace, folder: Path) -> tuple[Any, Any, Any]:
    """Runs the load. Returns aiperf's report, the answers by status, and the scheduler's counts."""
    from slotwise.configuration import Configuration
    from slotwise.gateway import Gateway, Settings
    from slotwise.gateway.demo import demo_engines

    tokenizer = [str(options.aiperf / "python"), "-c", TOKENIZER, str(folder / "tokenizer")]
    subprocess.run(tokenizer, check=True, stdout=subprocess.DEVNULL)
    async with demo_engines() as engines:
        configuration = Configuration(json.dumps({"endpoints": engines}))
        async with Gateway(configuration, Settings()) as gateway:
            environment = {**os.environ}
            environment.pop("HF_HUB_OFFLINE", None)
            tool = await asyncio.create_subprocess_exec(
                *command(options, gateway.url, folder), env=environment
            )
            if await tool.wait() != 0:
                raise SystemExit("aiperf failed")
            stats = gateway.pools["default"].scheduler.stats()
            statuses = dict(gateway.statuses)
    report = json.loads((folder / "profile_export_aiperf.json").read_text())
    return report, statuses, stats


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--aiperf", type=Path, required=True, help="the folder of its commands")
    parser.add_argument("--conversations", type=int, default=8)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        report, statuses, stats = asyncio.run(measure(options, Path(name)))
    first = stats.time_to_first_token
    theirs, later = int(report["request_count"]["avg"]), report["time_to_first_token"]["avg"]
    ours, ttft = stats.completed, first.sum / max(1, first.count) * 1e3
    print(f"{'':10} {'requests':>9} {'mean TTFT, ms':>14}")
    print(f"{'aiperf':10} {theirs:9} {later:14.1f}")
    print(f"{'gateway':10} {ours:9} {ttft:14.1f}")
    print(f"answers by status: {statuses}; in flight: {stats.in_flight}")
    expected = options.conversations * options.turns
    agree = theirs == ours == expected and statuses == {200: expected}
    sys.exit(0 if agree and stats.in_flight == 0 and 0 <= later - ttft < SLACK else 1)


if __name__ == "__main__":
    main()
