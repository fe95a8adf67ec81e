"""Requests of 1, 2 and 4 threads that share one scheduler.

    python bench/locks.py [--endpoints 1024] [--requests 5000]

Each request is picked and completes, with a prompt of 2,000 token ids. Printed are the requests a
second of all threads, the CPU time of each request, and the time of each call in microseconds with
the waits for the lock and for the interpreter. The CPU time depends least on the machine's other
load. The core's share is in ``benches/src/bin/locks.rs``.
"""

from __future__ import annotations

import argparse
import random
import threading
import time

import slotwise
from pick import token_ids

THREADS = (1, 2, 4)


class Worker(threading.Thread):
    """One thread, and the nanoseconds of its calls."""

    def __init__(
        self, scheduler: slotwise.Scheduler, prompts: list[list[int]], requests: int
    ) -> None:
        super().__init__()
        self._scheduler, self._prompts, self._requests = scheduler, prompts, requests
        self.picks: list[int] = []
        self.ends: list[int] = []

    def run(self) -> None:
        clock = time.perf_counter_ns
        for number in range(self._requests):
            begin = clock()
            dispatch = self._scheduler.pick(self._prompts[number % len(self._prompts)], model="m")
            picked = clock()
            assert isinstance(dispatch, slotwise.Dispatch)
            self._scheduler.complete(dispatch.request_id)
            self.picks.append(picked - begin)
            self.ends.append(clock() - picked)


def quantiles(nanos: list[int]) -> str:
    ordered = sorted(nanos)
    median, late = (ordered[int(len(ordered) * share)] / 1e3 for share in (0.5, 0.999))
    return f"{median:8.1f} median {late:8.1f} p99.9"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoints", type=int, default=1_024)
    parser.add_argument("--requests", type=int, default=5_000)
    options = parser.parse_args()
    prompts = token_ids(random.Random(1))
    for threads in THREADS:
        scheduler = slotwise.Scheduler()
        for number in range(options.endpoints):
            scheduler.add_endpoint(f"http://10.0.0.{number}:8000")
        workers = [Worker(scheduler, prompts, options.requests) for _ in range(threads)]
        begin, used = time.perf_counter(), time.process_time()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        seconds, used = time.perf_counter() - begin, time.process_time() - used
        requests = threads * options.requests
        each = used / requests * 1e6
        print(
            f"{threads} threads: {requests / seconds:.0f} requests a second,"
            f" {each:.1f} us of CPU each"
        )
        print(f"  pick     {quantiles([nanos for worker in workers for nanos in worker.picks])}")
        print(f"  complete {quantiles([nanos for worker in workers for nanos in worker.ends])}")


if __name__ == "__main__":
    main()
