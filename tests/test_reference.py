"""The reference in docs/ has every public name and member, made from the docstrings; and no link leads nowhere."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import asynchat_fast
from asynchat_fast.framing import PlainInputBuffer

ROOT = Path(__file__).parents[1]
if not (ROOT / "docs").is_dir():
    pytest.skip("these tests are not in a source tree, so there is no documentation", allow_module_level=True)

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*.md"))]
PATIENCE = 120  # seconds; the pages take ten
# Public by their names alone: for the loop, or of the channel that a handler is.
UNSAID = {"SocketMap": {"changed", "removals", "watched"}, "embedded": {"create_task", "map", "wake"}}

_DIRECTIVE = re.compile(
    r"^\.\. (?P<kind>(?:auto|py:)\w+|currentmodule):: (?P<name>[\w.]+).*\n(?P<options>(?: +.*\n)*)", re.M
)


class Entries:
    """The entries that the reference pages ask autodoc for."""

    def __init__(self):
        self.modules = []
        self.names = set()
        self.with_all_members = set()
        for page in sorted((ROOT / "docs").glob("*reference.md")):
            self._read(page.read_text(encoding="utf-8"))

    def _read(self, text):
        module = None
        for directive in _DIRECTIVE.finditer(text):
            kind, name = directive["kind"], directive["name"]
            members = re.search(r":members:(.*)", directive["options"])
            if kind in ("currentmodule", "automodule"):
                module = name
                if members and kind == "automodule":
                    exported = importlib.import_module(module).__all__
                    self.names |= {f"{module}.{each}" for each in exported}
                    self.with_all_members |= {f"{module}.{each}" for each in exported}
                elif module not in self.modules:
                    self.modules.append(module)
                continue
            full = name if name.startswith("asynchat_fast.") else f"{module}.{name}"
            self.names.add(full)
            if members and members[1].strip():
                self.names |= {f"{full}.{each.strip()}" for each in members[1].split(",")}
            elif members:
                self.with_all_members.add(full)


ENTRIES = Entries()


def public_names(module):
    """Return the public names of *module*: of a package more than a star import brings, as asynchat's are few."""
    found = importlib.import_module(module)
    if not hasattr(found, "__path__"):
        return set(found.__all__)
    names = {name for name in dir(found) if not name.startswith("_") and name != "TYPE_CHECKING"}
    used = {name for name in names if getattr(getattr(found, name), "__module__", "") in ("typing", "collections.abc")}
    return {name for name in names - used if not inspect.ismodule(getattr(found, name))} | set(found.__all__)


NAMES = [(module, name) for module in ENTRIES.modules for name in sorted(public_names(module))]
CLASSES = [
    (module, name)
    for module, name in NAMES
    if inspect.isclass(thing := getattr(importlib.import_module(module), name))
    and thing.__module__.startswith("asynchat_fast")
    and f"{module}.{name}" != "asynchat_fast.http_request_handler"  # has its entry as asynchat_fast.http's
]


def members(cls):
    """Return the public members that *cls* has of this package, but for those that a class with an entry has, too."""
    described = [base for base in cls.__mro__[1:] if base in map(class_of, CLASSES)]
    own = [base for base in cls.__mro__ if base.__module__.startswith("asynchat_fast")]
    names = {name for base in own for name in vars(base) if not name.startswith("_")}
    inherited = {name for name in names if described and getattr(cls, name) is getattr(described[0], name, None)}
    builtin = {name for base in cls.__mro__ if base.__module__ == "builtins" for name in vars(base)}
    return names - inherited - builtin - UNSAID.get(cls.__name__, set())


def class_of(entry):
    return getattr(importlib.import_module(entry[0]), entry[1])


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_public_name_has_an_entry(module, name):
    assert f"{module}.{name}" in ENTRIES.names


@pytest.mark.parametrize(("module", "name"), CLASSES)
def test_every_public_member_has_an_entry(module, name):
    cls = class_of((module, name))
    if f"{module}.{name}" in ENTRIES.with_all_members:  # which autodoc takes if they have a docstring
        methods = [member for member in sorted(members(cls)) if inspect.isroutine(getattr(cls, member))]
        assert [member for member in methods if not inspect.getdoc(getattr(cls, member))] == []
    else:
        assert {f"{module}.{name}.{member}" for member in members(cls)} - ENTRIES.names == set()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the pages, built."""
    for name in "sphinx", "myst_parser", "furo", "sphinx_copybutton":
        pytest.importorskip(name, reason="sphinx or what it uses to build the documentation is not installed")
    if not (ROOT / "README.md").exists():
        pytest.skip("these tests are not in a source tree, so pages from its root are missing")
    folder = tmp_path_factory.mktemp("pages")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "-d", folder / "doctrees", ROOT / "docs", folder]
    process = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (process.returncode, process.stderr) == (0, "")
    return folder


def test_pages_can_be_built(built):
    pages = {page.stem for page in built.glob("*.html")}
    assert pages - {"genindex", "py-modindex", "search"} == {page.stem for page in (ROOT / "docs").glob("*.md")}


def test_every_public_name_can_be_linked_to(built):
    from sphinx.util.inventory import InventoryFile

    inventory = InventoryFile.loads((built / "objects.inv").read_bytes(), uri="")
    linked = {name for kind in inventory.data.values() for name in kind}
    wanted = {f"{module}.{name}" for module, name in NAMES}
    wanted |= {f"{module}.{name}.{member}" for module, name in CLASSES for member in members(class_of((module, name)))}
    assert wanted - linked == set()
    index = (built / "genindex.html").read_text(encoding="utf-8")
    assert [name for name in sorted(wanted) if f"#{name}" not in index] == []


@pytest.mark.skipif(not asynchat_fast.COMPILED, reason="the compiled module is not used")
def test_the_compiled_input_buffer_is_described_as_the_plain_one():
    plain, compiled = PlainInputBuffer, asynchat_fast.InputBuffer
    assert inspect.getdoc(compiled).strip() == inspect.getdoc(plain)
    for name, member in vars(plain).items():
        if not name.startswith("_") and inspect.getdoc(member):  # slots have none
            assert inspect.getdoc(getattr(compiled, name)) == inspect.getdoc(member), name


@pytest.mark.parametrize("module", ["asynchat_fast", "asynchat_fast.http"])
def test_every_option_of_the_commands_is_in_the_documentation(module, run_python):
    options = set(re.findall(r"^ {2,4}(-{1,2}[\w-]+)|, (--[\w-]+)", run_python("-m", module, "--help").stdout, re.M))
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert [option for pair in options for option in pair if option and f"`{option}" not in text] == []


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


@pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="not in a source tree, all of which may be linked to")
@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_are_titled_in_words(page):
    """A title is what a reader is to find there; the name of a file is not."""
    assert re.findall(r"\[`?[\w./-]+\.md`?\]\([^)]*\)", without_code(page)) == []
