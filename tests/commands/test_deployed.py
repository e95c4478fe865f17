"""An application that does not come up ends `being serve`; one that ran is left to Serve."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

ray = pytest.importorskip("ray")

from ray import serve
from ray.exceptions import RayActorError
from ray.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
)

from being.commands.deployed import LOOKS, stay, taken_down
from being.errors import BeingError

States = dict[str, ApplicationStatusOverview]


class Signal(Exception):
    pass


def state(status: str, message: str = "", **failed: str) -> ApplicationStatusOverview:
    """failed : messages of deployments that failed, by name."""
    trigger, given_up = DeploymentStatusTrigger.REPLICA_STARTUP_FAILED, DeploymentStatus.DEPLOY_FAILED
    deployments = {name: DeploymentStatusOverview(given_up, trigger, {}, text) for name, text in failed.items()}
    return ApplicationStatusOverview(ApplicationStatus(status), message, time.time(), deployments)


def looks(*seen: States | Exception) -> tuple[Callable[[], States], Callable[[float], None]]:
    """What is seen one look after the other, and a sleep that a signal ends when all has been seen."""
    left = list(seen)

    def sleep(seconds: float) -> None:
        if not left:
            raise Signal

    def look() -> States:
        match left.pop(0):
            case Exception() as error:
                raise error
            case states:
                return states

    return look, sleep


def test_it_stays_while_applications_come_up_and_when_they_run() -> None:
    other = {"other": state("DEPLOY_FAILED")}  # somebody else's
    with pytest.raises(Signal):
        stay(["being"], *looks(other, other | {"being": state("DEPLOYING")}, other | {"being": state("RUNNING")}))


@pytest.mark.parametrize(
    ("failed", "reason"),
    [
        (state("DEPLOY_FAILED", "Deploying failed:\nTraceback\n  ...\nModuleNotFoundError: No module\n"), "No module"),
        (state("DEPLOY_FAILED", "Failed to update", Renderer="3 times in a row\nInputError: no device\n"), "no device"),
        (state("DEPLOY_FAILED"), "Serve does not say why"),
    ],
)
def test_an_application_that_serve_gives_up_is_one_line(failed: ApplicationStatusOverview, reason: str) -> None:
    with pytest.raises(BeingError) as caught:
        stay(["being"], *looks({"being": state("DEPLOYING")}, {"being": failed}))
    assert "application 'being' cannot be served: " in str(caught.value) and reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", [BeingError("given up"), KeyboardInterrupt(), SystemExit(143)])
def test_applications_on_a_cluster_are_taken_down_and_others_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], end: BaseException
) -> None:
    deleted: list[str] = []

    def delete(name: str) -> None:
        deleted.append(name)
        if name == "first":
            raise TimeoutError("not deleted\nafter 60s")

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(serve, "delete", delete)
    with pytest.raises(type(end)) as caught, taken_down(["first", "being"]):
        raise end
    assert caught.value is end and deleted == ["first", "being"]
    assert capsys.readouterr().err == "being: application 'first' may be left on the cluster: not deleted\n"


def test_nothing_is_taken_down_where_no_cluster_was_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "delete", lambda name: pytest.fail(name))
    with taken_down(["being"]):
        pass


def test_looks_that_fail_for_a_while_are_repeated() -> None:
    away: list[States | Exception] = [RayActorError(), {}] * (LOOKS // 2)
    with pytest.raises(Signal):
        stay(["being"], *looks(*away, {"being": state("DEPLOYING")}, *away, {"being": state("RUNNING")}))


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ({"other": state("RUNNING")}, "Serve knows no application 'being'"),
        (RayActorError(error_msg="it died\nlong ago"), "the state of the applications cannot be read: "),
    ],
)
def test_an_application_nothing_is_heard_of_is_one_line(seen: States | Exception, reason: str) -> None:
    with pytest.raises(BeingError) as caught:
        stay(["being"], *looks({"being": state("DEPLOYING")}, *[seen] * LOOKS))
    assert reason in str(caught.value) and "\n" not in str(caught.value)
