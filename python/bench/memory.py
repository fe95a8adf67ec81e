"""Checks that memory stays flat over millions of decisions.

Prints the resident memory of the process after each tenth of them.

    python bench/memory.py [MILLIONS]
"""

from __future__ import annotations

import json
import resource
import sys
import time

import slotwise
from slotwise import _core


def resident_mib() -> float:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    total = int(float(sys.argv[1] if len(sys.argv) > 1 else 10) * 1_000_000)
    scheduler = slotwise.Scheduler()
    for number in range(8):
        scheduler.add_endpoint(slotwise.Endpoint(f"e{number}", kv_cache_tokens=20_000))
    begun = time.perf_counter()
    measured = []
    for done in range(total):
        prompt = f"{done % 5_000} was asked " * (done % 23)
        if done % 5 == 0:
            body = json.dumps({"model": "m", "prompt": prompt}).encode()
            answer = scheduler.pick(
                body=body, path="/v1/completions", headers={"x-session-id": str(done % 100)}
            )
        else:
            answer = scheduler.pick(prompt, model="m", session=str(done % 100))
        assert isinstance(answer, slotwise.Dispatch)
        if done % 3 == 0:
            scheduler.handle_first_token(answer.request_id)
        if done % 11 == 0:
            lease = _core.Lease(scheduler, answer)
            lease.begin(200, "text/event-stream")
            lease.feed(b'data: {"choices":[{"index":0,"text":"a"}]}\n\n')
            lease.finish("client_disconnected")
        elif done % 7 == 0:
            scheduler.cancel(answer.request_id)
        else:
            scheduler.complete(
                answer.request_id, prompt_tokens=90, cached_tokens=0, completion_tokens=9
            )
        if (done + 1) % (total // 10) == 0:
            measured.append(resident_mib())
            seconds = time.perf_counter() - begun
            print(f"{done + 1:>12,} picks  {seconds:7.1f} s  {measured[-1]:8.1f} MiB", flush=True)
    # The first tenth fills the bounded tables; after it, memory must not grow.
    grown = measured[-1] - measured[0]
    print(f"grown by {grown:.1f} MiB after the first tenth")
    sys.exit(1 if grown > 8 else 0)


if __name__ == "__main__":
    main()
