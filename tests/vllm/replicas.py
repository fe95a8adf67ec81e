"""Real vLLM servers on this machine, one core each."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

BLOCK_SIZE = 32
BLOCKS = 512
ASK_EVERY = 0.5
"""Seconds between two health checks of a server that starts."""


def free_port() -> int:
    """A port from the operating system, so that two runs on one machine never collide."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Replica:
    """One server of the small model and its adapters."""

    def __init__(self, number: int, installed: Path, run: Path, port: int) -> None:
        self.number = number
        self.installed = installed
        self.run = run
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.events = f"tcp://127.0.0.1:{free_port()}"
        self.replay = f"tcp://127.0.0.1:{free_port()}"
        self.log = run / f"{number}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        model = self.installed / "model"
        # vLLM connects to an address without "*" instead of binding it.
        events, replay = (one.replace("127.0.0.1", "*") for one in (self.events, self.replay))
        kv_events = json.dumps(
            {
                "enable_kv_cache_events": True,
                "publisher": "zmq",
                "endpoint": events,
                "replay_endpoint": replay,
            }
        )
        command = [
            str(self.installed / "venv/bin/python"), "-m", "vllm.entrypoints.openai.api_server",
            "--model", str(model / "base"), "--served-model-name", "tiny",
            "--host", "127.0.0.1", "--port", str(self.port),
            "--max-model-len", "8192", "--block-size", str(BLOCK_SIZE), "--num-gpu-blocks-override", str(BLOCKS),
            # A share of the machine's memory, of which the cache takes what its blocks need.
            "--gpu-memory-utilization", "0.1", "--max-num-seqs", "8",
            "--enable-prefix-caching", "--enable-prompt-tokens-details",
            "--enable-lora", "--max-loras", "2", "--max-lora-rank", "8",
            "--lora-modules", *(f"lora-{name}={model}/lora-{name}" for name in "abc"),
            "--enable-auto-tool-choice", "--tool-call-parser", "hermes",
            "--kv-events-config", kv_events,
        ]  # fmt: skip
        environment = dict(os.environ)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment |= {
            "HOME": str(self.run / "home"),
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_SERVER_DEV_MODE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": str(self.number % (os.cpu_count() or 1)),
        }
        (self.run / "home").mkdir(exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )

    def wait_until_ready(self) -> None:
        """Waits until it answers, without a time limit. Raises with its log if it exits before."""
        assert self.process is not None, "started"
        while self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health"):
                    return
            except OSError:
                time.sleep(ASK_EVERY)
        raise RuntimeError(f"the server did not start:\n{self.log.read_text(errors='replace')[-3000:]}")

    def kill(self) -> None:
        """Kills it at once, with all its processes, as when a machine dies."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
