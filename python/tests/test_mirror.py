"""Copies of requests for a mirror's pool never wait, and leave room to requests of its own."""

import slotwise


def test_a_copy_takes_only_free_room() -> None:
    scheduler = slotwise.Scheduler()
    scheduler.add_endpoint({"name": "a", "max_in_flight": 1})
    copy = scheduler.pick_mirror("Hello", model="llama")
    assert isinstance(copy, slotwise.Dispatch) and copy.endpoint_name == "a"
    assert scheduler.pick_mirror("Hello", model="llama") is None, "it never waits"
    assert scheduler.cancel(copy.request_id)
    scheduler.submit("Hello")
    assert scheduler.pick_mirror("Hello") is None, "a request is queued"
    while scheduler.poll_decision() is not None:
        pass
    assert scheduler.pick_mirror("Hello", limit=0.0) is None
    assert scheduler.stats().in_flight == 1
