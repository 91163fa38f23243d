"""The house rules that a machine can check: each failure names the line, each exception has its reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import source
from tests.source import ROOMS, ROOT, Module

FUNCTION_LINES_MAX = 70
EVERYWHERE = (*ROOMS, "scripts", "tests")

#: Public functions in services that are not operations of their own.
BUILDING_BLOCKS = {
    "config/back_office/alerts/services/raising.py:preview_batch": "reads, and writes nothing that could be retried",
    "accounts/services/sign_up.py:newcomer_id": "computes an id from an email address and touches nothing",
    "referrals/services/accruals.py:preview_batch": "reads, and writes nothing that could be retried",
    "trading/services/orders.py:preview_order": "reads, and writes nothing that could be retried",
    "trading/services/swaps.py:preview_account": "reads, and writes nothing that could be retried",
}

#: Where a float is right: never near money.
FLOATS = {
    "core/middleware.py": "seconds, as a proxy's header spells them",
    "core/commands.py": "seconds between two rounds",
    "trading/management/commands/feed_quotes.py": "how much faster than time a replay runs",
}

#: Where a setting outlives its transaction.
SESSION_SETTINGS = {
    "core/management/commands/migrate.py": "a command whose connection is its own, and which puts back what was set"
}

#: Rows that are saved whole, because they are new.
SAVED_WHOLE = {"accounts/models.py": "Django's own commands create users through the manager"}

#: The columns that are money, or that prove it; and the two files that write them.
BALANCES = frozenset({"balance", "held", "credit", "realized_profit", "head"})
LEDGER = ("wallets/ledger.py", "wallets/sql/post.sql")

#: Rows in memory that are shown and never saved.
BALANCES_SHOWN = {"accounts/services/sign_up.py": "the wallet as the posting under way will leave it"}


def calls(module: Module, *names: str) -> Iterator[ast.Call]:
    """Every call of a function or method of one of these names."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            if called in names:
                yield node


def keywords(call: ast.Call) -> set[str | None]:
    return {word.arg for word in call.keywords}


# --- Size and prose ---------------------------------------------------------------------------------------------------


def test_functions_fit_on_a_screen() -> None:
    long = [
        f"{module.at(function)} {function.name}: {lines} lines"
        for module in source.modules(*ROOMS, "scripts")
        for function in module.functions()
        if (lines := (function.end_lineno or 0) - function.lineno + 1) >= FUNCTION_LINES_MAX
    ]
    assert long == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        module.name
        for module in source.modules(*EVERYWHERE)
        if module.text.strip() and ast.get_docstring(module.tree) is None
    ]
    assert silent == []


@pytest.mark.parametrize(
    "pattern,example",
    [
        (r"(?i)\bissue #?\d+|(?<![\w&/\"'(])#\d{1,4}\b", "as in #12"),
        (r"\b(DESIGN|HARDENING|STYLE|LIBRARIES)(\.md\b|,? (section )?\d)", "see HARDENING 3"),
        (r"(?i)(?<!RFC )\bsection \d", "section 8"),
        (r"/work/(main|shared)\b|/tmp/desk\b", "/work/shared"),
        (r"\b(TODO|FIXME)\b", "TODO: later"),
    ],
)
def test_the_repository_speaks_of_the_product_alone(pattern: str, example: str) -> None:
    assert re.search(pattern, example)
    said = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in _texts()
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search(pattern, line)
    ]
    assert said == []


def _texts() -> list[Path]:
    """Everything people read here, but for this file, which has to say what is not to be said."""
    suffixes = {".py", ".sql", ".md", ".toml", ".txt", ".html"}
    inside = [path for folder in EVERYWHERE for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    beside = [path for path in ROOT.iterdir() if path.is_file() and (path.suffix in suffixes or not path.suffix)]
    not_read = {Path(__file__).resolve(), ROOT / ".gitignore", ROOT / ".git"}  # in a work tree .git is a file
    return sorted({*inside, *beside} - not_read)


# --- Services ---------------------------------------------------------------------------------------------------------


def services() -> Iterator[tuple[Module, ast.FunctionDef]]:
    """Every public function of every module of services."""
    for module in source.modules():
        if "services" in module.path.with_suffix("").parts:
            for node in module.tree.body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    yield module, node


def test_services_are_whole_operations() -> None:
    """Retried outside, durable inside, exactly once where a client can repeat them: in this order, or not at all."""
    wrong, exempt = [], set()
    for module, function in services():
        name = f"{module.name}:{function.name}"
        if name in BUILDING_BLOCKS:
            exempt.add(name)
            continue
        expected = ["retry_on_conflict", "transaction.atomic(durable=True)"]
        decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
        if "claim" in {argument.arg for argument in function.args.kwonlyargs}:
            expected.append("exactly_once(…)")
            decorators = [re.sub(r"^exactly_once\(.*\)$", "exactly_once(…)", text) for text in decorators]
        if decorators != expected:
            wrong.append(f"{name}: {decorators}")
    assert wrong == []
    assert exempt == set(BUILDING_BLOCKS)


def test_services_are_called_by_name() -> None:
    positional = [
        f"{module.at(function)} {function.name}"
        for module, function in services()
        if (function.args.args or function.args.posonlyargs or function.args.vararg)
        and f"{module.name}:{function.name}" not in BUILDING_BLOCKS
    ]
    assert positional == []


def test_services_say_what_they_do() -> None:
    assert [f"{module.at(function)}" for module, function in services() if not ast.get_docstring(function)] == []


# --- Locks ------------------------------------------------------------------------------------------------------------


def test_every_row_lock_names_its_strength_and_its_order() -> None:
    """Two transactions that lock the same rows in different orders end up waiting for each other."""
    vague, seen = [], 0
    for module in source.modules():
        parents = {id(child): node for node in ast.walk(module.tree) for child in ast.iter_child_nodes(node)}
        for call in calls(module, "select_for_update"):
            seen += 1
            if "no_key" not in keywords(call):
                vague.append(f"{module.at(call)} does not say no_key")
            if "order_by" not in _chain(call, parents):
                vague.append(f"{module.at(call)} has no order_by")
    assert vague == []
    assert seen > 5


def _chain(call: ast.Call, parents: dict[int, ast.AST]) -> set[str]:
    """The names of all methods chained with this call, before and after it."""
    top: ast.AST = call
    while isinstance(parent := parents.get(id(top)), ast.Attribute) or (
        isinstance(parent, ast.Call) and parent.func is top
    ):
        top = parent
    return {node.attr for node in ast.walk(top) if isinstance(node, ast.Attribute)}


def test_every_lock_in_sql_has_an_order() -> None:
    locks = [(place, sql) for place, sql in source.statements() if re.search(r"\bFOR (NO KEY )?UPDATE\b", sql)]
    assert len(locks) > 1
    # What skips locked rows waits for nobody.
    assert [place for place, sql in locks if "ORDER BY" not in sql and "SKIP LOCKED" not in sql] == []


# --- Money ------------------------------------------------------------------------------------------------------------


def test_balances_are_written_by_the_ledger_alone() -> None:
    written = []
    for module in source.modules():
        if module.name in LEDGER or module.name in BALANCES_SHOWN:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                attributes = [
                    part for target in targets for part in ast.walk(target) if isinstance(part, ast.Attribute)
                ]
                written += [module.at(node) for attribute in attributes if attribute.attr in BALANCES]
        for call in calls(module, "update", "bulk_update", "setattr", "save"):
            named = keywords(call) | {node.value for node in ast.walk(call) if isinstance(node, ast.Constant)}
            written += [module.at(call)] if named & BALANCES and not _is_a_dict_update(call) else []
    written += [
        place
        for place, sql in source.statements()
        if not place.startswith(LEDGER)
        and re.search(r"\bUPDATE\s+(ONLY\s+)?wallets_wallet\b", sql)
        and not sql.lstrip().startswith(("CREATE TRIGGER", "SELECT"))
    ]
    assert written == []


def _is_a_dict_update(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and bool(call.args) and isinstance(call.args[0], ast.Dict)


@pytest.mark.parametrize(
    "table,model", [("wallets_entry", "Entry"), ("wallets_ledgertransaction", "LedgerTransaction")]
)
def test_postings_are_made_by_the_ledger_alone(table: str, model: str) -> None:
    inserts = {
        place.partition(":")[0] for place, sql in source.statements() if re.search(rf"INSERT\s+INTO\s+{table}\b", sql)
    }
    assert inserts == {"wallets/sql/post.sql"}
    made = [
        module.at(call)
        for module in source.modules()
        for call in calls(module, "create", "bulk_create", "get_or_create", "update_or_create")
        if ast.unparse(call.func).startswith(f"{model}.objects")
    ]
    assert made == []


def test_no_float_comes_near_money() -> None:
    found = {module.name for module in source.modules() for _ in calls(module, "float")}
    assert sorted(found) == sorted(FLOATS)
    columns = [
        f"{model._meta.label}.{column.name}"
        for app in source.our_apps()
        for model in app.get_models()
        for column in model._meta.local_fields
        if column.get_internal_type() == "FloatField"
    ]
    assert columns == []


# --- The database -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern,example",
    [
        (r"(?i)(^|;)\s*SET\s+(?!LOCAL\b|TRANSACTION\b)\w", "SET statement_timeout = 0"),
        (r"(?i)\bset_config\([^)]*,\s*false\s*\)", "SELECT set_config('x', '1', false)"),
        (r"(?i)\bRESET\s+\w+\s*$", "RESET statement_timeout"),
    ],
)
def test_settings_end_with_their_transaction(pattern: str, example: str) -> None:
    """A plain SET would be the next client's problem, behind a pooler."""
    assert re.search(pattern, example)
    assert not re.search(pattern, "SET LOCAL statement_timeout = 0")
    found = [place for place, sql in source.statements() if re.search(pattern, sql) and "ALTER " not in sql]
    assert [place for place in found if place.partition(":")[0] not in SESSION_SETTINGS] == []


def test_saving_names_the_columns() -> None:
    """A row saved whole writes back what somebody else has changed since it was read."""
    whole = {
        module.at(call)
        for module in source.modules()
        for call in calls(module, "save")
        if not keywords(call) & {"update_fields", "force_insert"} and not ast.unparse(call.func).startswith("super()")
    }
    assert {place.partition(":")[0] for place in whole} == set(SAVED_WHOLE), sorted(whole)


def test_no_model_orders_itself() -> None:
    ordered = [model._meta.label for app in source.our_apps() for model in app.get_models() if model._meta.ordering]
    assert ordered == []


def test_nothing_happens_by_signal() -> None:
    used = [
        module.at(node)
        for module in source.modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        and (
            (node.module or "").endswith(("signals", "dispatch"))
            or {"receiver", "Signal", "signals"} & {name.name for name in node.names}
        )
    ]
    assert used == []


# --- The edges --------------------------------------------------------------------------------------------------------


def test_nothing_prints() -> None:
    assert [module.at(call) for module in source.modules() for call in calls(module, "print", "pprint")] == []


def test_views_keep_their_hands_off_models() -> None:
    """No view set that writes by itself, no `serializer.save()`: a view makes one call to a service."""
    base = re.compile(r"\b(ModelViewSet|CreateModelMixin|UpdateModelMixin|DestroyModelMixin|ModelAdmin\.save_model)\b")
    assert [module.name for module in source.modules() if base.search(module.text)] == []


def test_log_events_are_constant_dotted_names() -> None:
    """
    An event that is spelled out can be searched for, counted and alerted on.

    Its first word is the room that the noun lives in: the one that logs it, or one below.
    """
    odd, seen = [], 0
    for module in source.modules():
        rooms = ROOMS[ROOMS.index(module.name.partition("/")[0]) :]
        shape = re.compile(rf"({'|'.join(rooms)})(\.[a-z_]+){{2}}")
        for function in module.functions():
            for event in _logged(function):
                seen += 1
                names = _spellings(module, function, event)
                if not names or not all(shape.fullmatch(name) for name in names):
                    odd.append(f"{module.at(event)} {ast.unparse(event)}: {names}")
    assert odd == []
    assert seen > 20


def _logged(function: ast.AST) -> Iterator[ast.expr]:
    """The first argument of every `logger.info(…)` and of every `partial(logger.info, …)`."""
    level = re.compile(r"logger\.(debug|info|warning|error|exception|critical)")
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and node.args:
            if level.fullmatch(ast.unparse(node.func)):
                yield node.args[0]
            elif len(node.args) > 1 and level.fullmatch(ast.unparse(node.args[0])):
                yield node.args[1]


def _spellings(module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef, event: ast.expr) -> list[str]:
    """What an event can be: itself, or what its name is given in this function or by those who call it."""
    if not isinstance(event, ast.Name):
        return [str(node.value) for node in ast.walk(event) if isinstance(node, ast.Constant)]
    values = [
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [event.id]
    ]
    found = [text for value in values for text in _branches(value)]
    parameters = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
    if event.id in parameters:
        for caller in module.functions():
            for call in calls(module, function.name):
                if call not in ast.walk(caller):
                    continue
                given = {word.arg: word.value for word in call.keywords} | dict(
                    zip(parameters, call.args, strict=False)
                )
                if event.id in given:
                    found += _spellings(module, caller, given[event.id])
    return found


def _branches(value: ast.expr) -> list[str]:
    parts = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
    return [str(part.value) if isinstance(part, ast.Constant) else ast.unparse(part) for part in parts]


# --- The map ----------------------------------------------------------------------------------------------------------


def test_the_map_shows_every_folder_and_nothing_else() -> None:
    drawn: dict[str, str] = {}
    for block in re.findall(r"```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        drawn |= dict(re.findall(r"^(\S+/) — (.+)$", block, re.MULTILINE))
    packages = {f"{path.parent.name}/" for path in ROOT.glob("*/__init__.py")}
    assert packages - drawn.keys() == set(), "draw them on the map"
    assert {name for name in drawn if not (ROOT / name).is_dir()} == set(), "the map shows what is not there"
    assert set(ROOMS) <= {name.removesuffix("/") for name in packages}


def test_the_readme_points_at_what_is_there() -> None:
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)+/?)`", (ROOT / "README.md").read_text())
    made_by_running = ("var/",)
    lost = [name for name in named if not name.startswith(made_by_running) and not (ROOT / name).exists()]
    assert named
    assert lost == []
