"""The reference in docs/ has every public name, with its parameters and defaults; and no link leads nowhere."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "docs").is_dir():
    pytest.skip("these tests are not in a source tree, so there is no documentation", allow_module_level=True)

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*.md"))]
MODULES = {"asynchat_fast": "reference.md", "asynchat_fast.http": "http-reference.md"}
ELSEWHERE = {"http_request_handler": "asynchat_fast.http"}
MAIN_CLASSES = {"async_chat", "chat_server", "http_request_handler"}  # subclasses need not repeat their members
# Names that a SocketMap has of a dict, or that only loop() calls.
UNSAID = {
    "SocketMap": {"changed", "watch", "watched", "wake", "touch", "clear", "pop", "popitem", "setdefault", "update"}
}


def sections(page):
    """Return the texts below the second-level headings of *page*, by heading."""
    parts = re.split(r"^## (.*)\n", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def public_names(module):
    """Return the public names of *module*, more than those that a star import brings, but for names it only uses."""
    names = {name: thing for name, thing in vars(importlib.import_module(module)).items() if not name.startswith("_")}
    own = {name for name, thing in names.items() if not inspect.ismodule(thing)} - {"TYPE_CHECKING", "Any"}
    return own | set(importlib.import_module(module).__all__)


REFERENCE = {module: sections(page) for module, page in MODULES.items()}
NAMES = [
    (module, name)
    for module, page in MODULES.items()
    for name in sorted({*public_names(module), *REFERENCE[module]} - {"Other names", "Command line"})
]


def mentioned(text):
    """Return the names that stand in code in *text*."""
    return set(re.findall(r"`([A-Za-z_]\w*)[(`]", text))


def defined(text):
    """Return the names that lines of *text* begin with, and their parameters in parentheses, empty without any."""
    lines = re.findall(r"^(?:- |\| )?((?:`\w+(?:\(.*?\))?`(?:, )?)+)(?::| \||$)", text, re.M)
    return {name: shown for line in lines for name, shown in re.findall(r"`(\w+)(\(.*?\))?`", line)}


class Name:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name


def parameters(thing):
    """Return the parameters of *thing* as they are to stand in the reference."""
    shown = []
    for each in inspect.signature(thing).parameters.values():
        default = Name(each.default.__name__) if inspect.isclass(each.default) else each.default
        default = each.empty if each.default is each.empty else default
        shown.append(each.replace(annotation=each.empty, default=default))
    without_self = [each for each in shown if each.name != "self"]
    return str(inspect.Signature(without_self)).replace("'", '"')


def public_members(cls):
    """Return the public names that *cls* has of this package."""
    own = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "asynchat_fast"]
    return {name for base in own for name in vars(base) if not name.startswith("_")}


def own_members(cls):
    """Return those that its section is to have: not those inherited unchanged from a class that has a section, too."""
    described = [base for base in cls.__mro__[1:] if base.__name__ in MAIN_CLASSES]
    inherited = set().union(*map(public_members, described))
    inherited = {name for name in inherited if getattr(cls, name) is getattr(described[0], name)}
    return public_members(cls) - inherited - UNSAID.get(cls.__name__, set())


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_public_name_is_in_the_reference(module, name):
    thing = getattr(importlib.import_module(ELSEWHERE.get(name, module)), name)
    text = REFERENCE[module].get(name)
    if text is None:
        assert name in mentioned(REFERENCE[module]["Other names"])
        assert not callable(thing) or name == "deque" or name in REFERENCE[ELSEWHERE[name]]
        return
    shown = defined(text)
    if name in shown and name != "InputBuffer":  # whose signature is in its stub
        assert shown[name] == parameters(thing)
    if inspect.isclass(thing) and not issubclass(thing, Exception):
        assert own_members(thing) <= mentioned(text)


CLASSES = [
    each
    for each in NAMES
    if inspect.isclass(getattr(importlib.import_module(ELSEWHERE.get(each[1], each[0])), each[1]))
]


@pytest.mark.parametrize(("module", "name"), [each for each in CLASSES if each[1] in REFERENCE[each[0]]])
def test_members_are_as_the_reference_says(module, name):
    cls = getattr(importlib.import_module(ELSEWHERE.get(name, module)), name)
    for member, shown in defined(REFERENCE[module][name]).items():
        thing = inspect.getattr_static(cls, member, None)
        if member == "log" and not shown:
            continue  # objects have an attribute in the place of the method
        if inspect.isfunction(thing) and thing.__module__.startswith("asynchat_fast"):
            assert shown == parameters(getattr(cls, member)), member
        elif shown:
            assert member in (name, "len", "iter", "next") or callable(getattr(cls, member)), member
    for attribute, default in re.findall(r"^\| `(\w+)` \| `(.*?)` \|", REFERENCE[module][name], re.M):
        shown = getattr(cls, attribute)
        shown = shown.fget(cls.__new__(cls)) if isinstance(shown, property) else shown
        assert shown == ast.literal_eval(default), attribute


def anchors(page):
    """Return the anchors that *page* has, as GitHub and MyST make them of headings."""
    text = without_code(page)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_code(page):
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


@pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="not in a source tree, all of which may be linked to")
@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target
