"""What pytest finds: options, markers `lab` and `fault`, fixtures `lab` and `lab_up`, what a failed test tells."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from trenza.pytest_plugin.lab import Lab
    from trenza.pytest_plugin.shelf import Shelf
    from trenza.pytest_plugin.trial import Trial

SCOPES: Final = ("function", "class", "module", "package", "session")
_MARKERS = (
    "lab(file, *, profile, set, until, start, with_, wait, scope, capture, filter): the lab of the fixture `lab`: a"
    " file or directory beside the test, or the name of a shipped one. Without it: lab.yaml beside the test.",
    "fault(words, **options): what is broken while the test runs, in the words of `trenza fault`; mended after it.",
)
_TRIAL = pytest.StashKey["Trial"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("trenza", "labs (trenza)")
    group.addoption(
        "--lab-artifacts", metavar="DIR", help="where captures of failed tests stay (.pytest_lab in the root directory)"
    )
    group.addoption(
        "--lab-skip-missing",
        action="store_true",
        help="skip tests whose lab needs what this machine lacks, saying what; without it they are errors",
    )
    group.addoption(
        "--lab-allow-nat", action="store_true", help="let `to: nat` of labs reach public addresses from this machine"
    )


def pytest_configure(config: pytest.Config) -> None:
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that says what is to be broken, and has no lab, would prove nothing."""
    if item.get_closest_marker("fault") is not None and "lab" not in getattr(item, "fixturenames", ()):
        pytest.fail("the marker fault needs the fixture lab", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What is known of the labs of a test that failed, while they are still there."""
    report = yield
    trial = item.stash.get(_TRIAL, None)
    if trial is not None and report.failed:
        report.sections.extend(trial.sections())
    return report


# ---------------------------------------------------------------- fixtures
@pytest.fixture
def lab(request: pytest.FixtureRequest, _lab_trial: Trial) -> Iterator[Lab]:
    """The lab of the marker `lab`, up and as its file says, with the faults of the markers `fault` in effect."""
    marker = request.node.get_closest_marker("lab") or pytest.mark.lab.mark
    wish = _lab_trial.wish(marker.args, marker.kwargs)
    shelf: Shelf = request.getfixturevalue(f"_lab_shelf_of_{wish.scope}")
    with _lab_trial.using(shelf, wish) as found:
        for marker in reversed(list(request.node.iter_markers("fault"))):
            _lab_trial.broken(found, *marker.args, **marker.kwargs)
        yield found


@pytest.fixture
def lab_up(request: pytest.FixtureRequest, _lab_trial: Trial, _lab_shelf_of_function: Shelf) -> Callable[..., Lab]:
    """Brings further labs up, each until the end of the test: `lab_up("other.yaml", profile="fast")`."""
    ends = ExitStack()
    request.addfinalizer(ends.close)

    def bring_up(*arguments: Any, **options: Any) -> Lab:
        wish = _lab_trial.wish(arguments, options)
        return ends.enter_context(_lab_trial.using(_lab_shelf_of_function, wish))

    return bring_up


@pytest.fixture
def _lab_trial(request: pytest.FixtureRequest) -> Trial:
    from trenza.pytest_plugin.trial import Trial

    trial = Trial(request.node)
    request.node.stash[_TRIAL] = trial
    return trial


def _shelf_of(scope: Any) -> Any:
    """The fixture that holds the labs of one scope, and ends them with it."""

    @pytest.fixture(scope=scope, name=f"_lab_shelf_of_{scope}")
    def shelf() -> Iterator[Shelf]:
        from trenza.pytest_plugin.shelf import Shelf

        with Shelf() as labs:
            yield labs

    return shelf


_of_function, _of_class, _of_module, _of_package, _of_session = map(_shelf_of, SCOPES)
