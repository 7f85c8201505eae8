"""The grammar of a runbook's commands: what is read, what is refused and why, and that nothing else ever comes out."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.runbook_commands import command_of, pipeline_of, words_of
from harness.runbook_kubectl import REFUSED_FLAGS, REFUSED_VERBS, VERBS, CommandError, kind_of, read_call

READING = (
    "kubectl -n agents get pods -l app=planner -o wide",
    "kubectl get nodes -L gameday.local/pool",
    "kubectl get pods -A --field-selector=status.phase=Pending",
    "kubectl get pods -A -o custom-columns=NS:.metadata.namespace,POD:.metadata.name",
    "kubectl -n agents get pod planner-1 -o jsonpath='{.status.phase}'",
    "kubectl -nagents get hpa,pdb",
    "kubectl -n=agents get deployment/planner service/planner",
    "kubectl -n agents describe hpa planner | tail -20",
    "kubectl top pods -n agents -l app=planner   # is there data at all?",
    "kubectl top node",
    "kubectl -n agents logs -l app=planner --tail=20 --prefix | grep -iE 'redis|queue' | sort | uniq -c | head -n 5",
    "kubectl -n agents logs deployment/planner -c planner -p --since 5m",
    "kubectl -n agents rollout status deployment planner --watch=false",
    "kubectl -n agents rollout history deployment/planner --revision=2",
    "kubectl -n agents get events --field-selector=reason=FailedScheduling --sort-by=.lastTimestamp | tail -n +2",
    "kubectl auth can-i delete pods -n agents",
    "kubectl explain hpa.spec",
    "kubectl api-resources",
    "kubectl version",
    "kubectl cluster-info",
    "kubectl diff -f testbed/manifests/base/agents/planner.yaml",
    "kubectl argo rollouts get rollout planner -n agents",
)
CHANGING = (
    "kubectl -n agents scale deployment planner --replicas=9",
    "kubectl -n agents rollout undo deployment planner --to-revision=3",
    "kubectl -n agents rollout restart deployment/planner",
    'kubectl -n agents patch hpa planner --type=merge -p \'{"spec":{"maxReplicas":12}}\'',
    "kubectl -n agents delete pod planner-1 --grace-period=0 --force",
    "kubectl -n agents delete pods -l app=planner",
    "kubectl cordon gpu-1",
    "kubectl uncordon gpu-1",
    "kubectl drain general-2 --ignore-daemonsets --timeout=15s",
    "kubectl apply -f testbed/manifests/base/agents/planner.yaml",
    "kubectl -n agents annotate scaledobject tool-adapter autoscaling.keda.sh/paused=true",
    "kubectl -n agents label pods -l app=planner seen=yes",
    "kubectl taint nodes gpu-1 broken=true:NoSchedule",
    "kubectl -n agents set image deployment/planner planner=gameday-platform:dev",
    "kubectl -n agents scale deployment planner --replicas=3 --dry-run=server",
    "kubectl argo rollouts abort planner -n agents",
)
REFUSED = (
    ("", "an empty command"),
    ("# nothing", "an empty command"),
    ("kubectl", "unknown verb"),
    ("kubectl |", "empty end"),
    ("kubectl get pods || true", "only a shell understands"),
    ("kubectl get pods; reboot", "only a shell understands ;"),
    ("kubectl get pods && reboot", "only a shell understands &"),
    ("kubectl get pods > /tmp/x", "only a shell understands >"),
    ("kubectl get pods $POD", "only a shell understands $"),
    ('kubectl get pods "$(reboot)"', "only a shell understands $"),
    ("kubectl get pods `reboot`", "only a shell understands `"),
    ("kubectl get pods planner-*", "only a shell understands *"),
    ("kubectl get pod <name>", "only a shell understands <"),
    ("kubectl get pods \\", "only a shell understands"),
    ("kubectl get pods 'planner", "not a command line"),
    ("kubectl get pods\x1b[2J", "control character"),
    (f"kubectl get pods {'x' * 1000}", "too long"),
    ("rm -rf /", "rm: not a program"),
    ("FOO=1 kubectl get pods", "FOO=1: not a program"),
    ("/opt/kubectl get pods", "/opt/kubectl: not a program"),
    ("gameday recover", "gameday: not a program"),
    ("kubectl frobnicate pods", "unknown verb of kubectl: frobnicate"),
    ("kubectl rollout wait deployment planner", "unknown verb of kubectl: rollout wait"),
    ("kubectl -n agents exec planner-1 -- sh", "reaches into a pod"),
    ("kubectl attach planner-1", "reaches into a pod"),
    ("kubectl cp a b", "reaches into a pod"),
    ("kubectl port-forward planner-1 80", "opens a tunnel"),
    ("kubectl proxy", "opens a tunnel"),
    ("kubectl edit hpa planner", "needs somebody"),
    ("kubectl config view --raw", "none for a runbook"),
    ("kubectl --context prod get pods", "chooses another cluster"),
    ("kubectl get pods --kubeconfig=/tmp/k", "chooses another cluster"),
    ("kubectl get pods -s http://127.0.0.1", "chooses another cluster"),
    ("kubectl get pods --as=admin", "chooses another identity"),
    ("kubectl get pods --token abc", "chooses another identity"),
    ("kubectl get --raw /metrics", "asks any address"),
    ("kubectl get pods -v=9", "logs headers"),
    ("kubectl get pods --frob", "unknown flag --frob of kubectl get"),
    ("kubectl get pods -w", "follows"),
    ("kubectl logs planner-1 -f", "follows"),
    ("kubectl rollout status deployment planner", "waits"),
    ("kubectl rollout status deployment planner --watch", "waits"),
    ("kubectl get pods -Aowide", "several flags in one word"),
    ("kubectl get pods -n", "has no value"),
    ("kubectl delete pod x --dry-run", "has no value"),
    ("kubectl get pods --no-headers=maybe", "neither true nor false"),
    ("kubectl get pods -o jsonpath-file=/etc/passwd", "output jsonpath-file=/etc/passwd: not known"),
    ("kubectl get secrets", "secrets have no business"),
    ("kubectl get pods,secret/token", "unknown kind"),
    ("kubectl get pod/x secret/token", "secrets have no business"),
    ("kubectl describe secrets.v1 x", "secrets have no business"),
    ("kubectl get podz", "unknown kind podz"),
    ("kubectl -n agents scale deployment planner", "lacks --replicas"),
    ("kubectl scale --replicas=3", "does not say of what"),
    ("kubectl -n agents scale deployment planner --replicas=many", "no whole number"),
    ("kubectl delete pods", "does not say of what"),
    ("kubectl patch hpa planner -p '{spec}'", "the patch is no JSON"),
    ("kubectl apply -f https://example.com/x.yaml", "not a file of the project"),
    ("kubectl apply -f /etc/x.yaml", "not a file of the project"),
    ("kubectl apply -f ../x.yaml", "not a file of the project"),
    ("kubectl apply -f -", "not a file of the project"),
    ("kubectl get pods | sh", "| sh: not a filter"),
    ("kubectl get pods | sed -n 1p", "| sed: not a filter"),
    ("kubectl get pods | kubectl delete pod x", "| kubectl: not a filter"),
    ("kubectl get pods | tail -f", "unknown flag -f"),
    ("kubectl get pods | sort -o /tmp/x", "unknown flag -o"),
    ("kubectl get pods | grep -r x", "unknown flag -r"),
    ("kubectl get pods | grep -f /etc/passwd", "unknown flag -f"),
    ("kubectl get pods | grep x /etc/passwd", "2 words, not 1"),
    ("kubectl get pods | head /etc/passwd", "1 words, not 0"),
    ("kubectl get pods | head -n all", "not a value for it"),
    ("kubectl get pods | wc -", "unknown flag -"),
)


@pytest.mark.parametrize("line", READING)
def test_reading_commands_are_understood(line: str) -> None:
    assert not command_of(line).changes


@pytest.mark.parametrize("line", CHANGING)
def test_changing_commands_are_told_from_reading_ones(line: str) -> None:
    assert command_of(line).changes


@pytest.mark.parametrize(("line", "why"), REFUSED, ids=[line[:60] for line, _ in REFUSED])
def test_what_must_not_run_is_refused_with_its_reason_and_a_remedy(line: str, why: str) -> None:
    with pytest.raises(CommandError) as refused:
        command_of(line)
    assert why in refused.value.problem
    assert refused.value.remedy


def test_a_comment_is_no_part_of_the_command_but_a_quoted_one_is() -> None:
    assert command_of("kubectl get nodes   # NotReady?").text == "kubectl get nodes"
    assert pipeline_of("kubectl get nodes | grep ' # '").stages[1] == ("grep", " # ")


def test_words_are_those_of_a_shell() -> None:
    line = 'kubectl -n agents patch hpa planner -p \'{"spec": {}}\' --type "merge"'
    assert words_of(line) == shlex.split(line)


def test_namespace_and_objects_are_read_from_every_way_to_write_them() -> None:
    call = read_call(["-n", "agents", "get", "hpa,pdb", "planner", "-n=other"])
    assert call.value("namespace") == "other"
    assert call.objects() == (("horizontalpodautoscalers", "planner"), ("poddisruptionbudgets", "planner"))
    assert read_call(["scale", "deploy/planner", "--replicas", "3"]).objects() == (("deployments", "planner"),)
    assert read_call(["label", "pods", "x", "a=b", "c-"]).objects() == (("pods", "x"),)
    assert read_call(["cordon", "gpu-1"]).objects() == (("nodes", "gpu-1"),)
    assert read_call(["logs", "planner-1"]).objects() == (("pods", "planner-1"),)


def test_kinds_are_known_by_all_their_names() -> None:
    assert {kind_of(word) for word in ("deploy", "Deployment", "deployments", "deployments.apps")} == {"deployments"}


def test_no_verb_is_both_known_and_refused_and_no_refused_flag_is_in_a_table() -> None:
    assert not set(VERBS) & set(REFUSED_VERBS)
    for name, verb in VERBS.items():
        assert not (verb.switches | verb.values) & (set(REFUSED_FLAGS) - {"watch"}), name


WORDS = st.sampled_from([
    "kubectl", "-n", "agents", "get", "pods", "secrets", "|", "grep", "tail", "-f", "-20", "--context", "--as=x",
    "exec", "--raw", "rollout", "undo", "deployment/planner", "-o", "yaml", "-w", "--", "'", '"', "$(x)", ";",
    "delete", "-A",
])  # fmt: skip


@given(st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=9).map(" ".join)))
def test_whatever_is_written_is_understood_or_refused_and_nothing_dangerous_is_understood(line: str) -> None:
    try:
        found = pipeline_of(line)
    except CommandError:
        return
    words = found.stages[0]
    assert words[0] == "kubectl"
    assert {part[0] for part in found.stages[1:]} <= {"grep", "head", "tail", "sort", "uniq", "wc", "cut"}
    assert not {"exec", "proxy", "secrets"} & set(found.call.operands)
    assert not {name for name, _ in found.call.flags} & (set(REFUSED_FLAGS) - {"watch"})
