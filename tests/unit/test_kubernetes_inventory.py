"""What is news and what is not: CASES B02, B03."""

from harness.drivers.kubernetes.facts import pod_fact
from harness.drivers.kubernetes.inventory import EventLog, FactInventory
from tests.unit.kubernetes_stub import pod


def subjects(news):
    return [(n.subject, n.detail["deleted"]) for n in news]


def test_the_first_list_is_news_and_the_same_list_again_is_not():
    inventory = FactInventory(pod_fact)
    items = [pod("a", "u1", "1"), pod("b", "u2", "2")]
    assert subjects(inventory.replace(items)) == [("agents/a", False), ("agents/b", False)]
    assert inventory.replace(items) == []


def test_a_new_resource_version_without_a_change_of_the_fact_is_no_news_but_is_known():
    inventory = FactInventory(pod_fact)
    inventory.apply("ADDED", pod("a", "u1", "1"))
    assert inventory.apply("MODIFIED", pod("a", "u1", "2")) == []
    assert inventory.facts()[0].resource_version == "2"


def test_a_list_that_lacks_an_object_reports_its_deletion_before_what_took_its_name_b02():
    inventory = FactInventory(pod_fact)
    inventory.replace([pod("a", "u1", "1")])
    news = inventory.replace([pod("a", "u9", "5")])
    assert [(n.detail["uid"], n.detail["deleted"]) for n in news] == [("u1", True), ("u9", False)]


def test_a_deletion_is_told_once_and_of_known_objects_only_b03():
    inventory = FactInventory(pod_fact)
    inventory.apply("ADDED", pod("a", "u1", "1"))
    assert subjects(inventory.apply("DELETED", pod("a", "u1", "2"))) == [("agents/a", True)]
    assert inventory.apply("DELETED", pod("a", "u1", "2")) == []
    assert inventory.facts() == []


def event_object(uid, version, reason="Killing"):
    involved = {"kind": "Pod", "namespace": "agents", "name": "a"}
    meta = {"name": uid, "namespace": "agents", "uid": uid, "resourceVersion": version}
    return {"metadata": meta, "reason": reason, "message": "m", "type": "Normal", "involvedObject": involved}


def test_events_of_before_the_start_are_no_news_and_each_later_state_is_news_once():
    log = EventLog()
    assert log.replace([event_object("e1", "1")]) == []
    (news,) = log.apply("MODIFIED", event_object("e1", "2"))
    assert (news.kind, news.subject, news.detail["involved"]["kind"]) == ("k8s-event", "agents/a", "Pod")
    assert log.apply("ADDED", event_object("e1", "2")) == []
    assert [n.detail["reason"] for n in log.replace([event_object("e1", "2"), event_object("e2", "3", "Evicted")])] == [
        "Evicted"
    ]
