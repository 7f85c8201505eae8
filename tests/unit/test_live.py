import io

from rich.console import Console

from harness.live import LiveState, LiveView


def event(kind, subject, t_s=1.0, **detail):
    return {"seq": 1, "t_s": t_s, "actor": "x", "kind": kind, "subject": subject, "detail": detail}


def test_the_status_line_tells_phase_rates_success_replicas_and_backlog():
    state = LiveState(expected_s=190)
    for seen in (
        event("phase", "inject", edge="start"),
        event("load", "burst", 42.0, offered_rps=60.0, achieved_rps=59.5, requests=1000, failures=1),
        event("hpa", "agents/planner", namespace="agents", target="Deployment/planner", desired_replicas=9),
        event("workload", "agents/planner", spec_replicas=9, ready_replicas=7),
        event("workload", "agents/inference", spec_replicas=2, ready_replicas=2),
        event("sample", "queue_oldest_task_age_seconds", value=12.0),
        event("sample", "queue_depth", value=40),
    ):
        state.take(seen)
    status = state.status()
    for words in ("42.0s/190s", "inject", "60.0", "59.5", "99.90 %", "planner 9/7 ready", "backlog 12 s (40)"):
        assert words in status
    assert "inference" not in status


def test_no_requests_show_no_success_ratio_d04():
    state = LiveState()
    state.take(event("load", "baseline", offered_rps=1.0, achieved_rps=0.0, requests=0, failures=0))
    assert "ok -" in state.status()


def test_faults_gates_findings_and_scaling_are_lines_of_their_own():
    state = LiveState()
    hpa = {"namespace": "agents", "target": "Deployment/planner"}
    state.take(event("hpa", "agents/planner", desired_replicas=3, **hpa))
    assert state.take(event("hpa", "agents/planner", desired_replicas=6, **hpa)) == "scale agents/planner: 3 → 6"
    killed = event("fault", "kill", step="acted", loss="abrupt kill", victims=[{"name": "planner-1"}])
    assert state.take(killed) == "fault kill: abrupt kill of planner-1"
    assert "cannot be told" in state.take(event("gate", "baseline", ok=None, reason="Prometheus is away"))
    assert "do this" in state.take(event("finding", "hpa a/b", message="gone", remedy="do this"))
    assert state.take(event("watch", "pods", state="open")) == ""
    assert "hole" in state.take(event("watch", "pods", state="hole", reason="410"))


def test_a_plain_log_gets_a_status_line_every_few_seconds_and_no_control_codes():
    out = io.StringIO()
    with LiveView(Console(file=out, force_terminal=False, width=200), 100) as view:
        for second in range(12):
            view.take(event("load", "b", float(second), offered_rps=1, achieved_rps=1, requests=second, failures=0))
    assert len(out.getvalue().splitlines()) == 3
    assert "\x1b" not in out.getvalue()
