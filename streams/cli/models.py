"""`npo model list|show|rollback|import`: which models a scope has had, what they are, and putting one in force by hand."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from msgspec import to_builtins
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.alignment import RetrainingResult
from schemas.errors import SettingsError
from schemas.events import INITIAL, Model
from schemas.headers import rfc3339
from schemas.settings import Deployment, load_settings
from streams.home import account, connect
from streams.logs.deploying import check, imported, read_model, require_settings_in_use, send_model
from streams.logs.taking import WAIT_S
from streams.serving.history import Arrival, History, initial_model, read_histories

FAULT = 1
LIST_WIDTH = 200

model_app = App(name="model", result_action="return_value")

As = Annotated[str | None, Parameter(name="--as")]


@model_app.command(name="list")
def list_models(*, scope: str | None = None, json: bool = False) -> int:
    """List the models of each scope in the order in which they came into force, and what retraining offered and was refused.

    Costs are per scenario, from the evaluation that put the model in force: of the model before it, of the challengers whose
    newest fit it is, their difference with its standard error, and the effective sample size (ESS) behind it.

    Args:
        scope: This scope only.
        json: Print it as JSON.
    """
    deployment = connect()
    histories = asyncio.run(read_histories(deployment))
    if scope is not None:
        histories = {scope: histories.get(scope, History())}
    profile = load_settings(deployment).profile
    first = {name: Arrival(initial_model(profile, name)) for name in sorted(histories)}
    shown = {name: History([each, *histories[name].arrivals], histories[name].results) for name, each in first.items()}
    # An id that is cut can neither be read nor copied.
    console = Console(width=max(LIST_WIDTH, Console().width))
    if json:
        console.print_json(data={name: as_json(history) for name, history in shown.items()})
        return 0
    for name, history in shown.items():
        console.print(f"scope {name}: {history.in_force} is in force", markup=False, highlight=False)
        console.print(arrivals_table(history))
        if history.refused:
            console.print(refused_table(history.refused))
    if not shown:
        console.print("no scope has had another model than the profile's initial one")
    return 0


@model_app.command
def show(model: str, *, scope: str | None = None, json: bool = False) -> int:
    """Show one model: what it is made of, where it comes from, how it was evaluated.

    Args:
        model: Its id, or any beginning that only one has; `initial` needs a scope.
        scope: Look among this scope's models only.
        json: Print the model as JSON, as `npo model import` takes it.

    Raises:
        SettingsError: no model has this id, or several begin with it.
    """
    deployment = connect()
    histories = asyncio.run(read_histories(deployment))
    found = find(deployment, histories, model, scope)
    console = Console()
    if json:
        console.print_json(data=to_builtins(found))
        return 0
    when = f", {rfc3339(found.time_ms)[:19]}" if found.time_ms else ""
    console.print(f"model {found.id} of scope {found.scope}: {standing(histories, found)}", markup=False, highlight=False)
    console.print(f"{found.origin} by {found.by or '-'}{when}, parent {found.parent or '-'}", markup=False, highlight=False)
    console.print(", ".join(f"{name} {value:.4g}" for name, value in found.evaluation.items()) or "not evaluated", highlight=False)
    weights = Table("feature", "weight (logit)", box=None)
    weights.add_row("(intercept)", f"{found.intercept:.4f}")
    for name, weight in sorted(found.weights.items(), key=lambda each: (-abs(each[1]), each[0])):
        weights.add_row(Text(name), f"{weight:.4f}")
    console.print(weights)
    return 0


@model_app.command
def rollback(model: str | None = None, *, scope: str, reason: str = "", by: As = None, json: bool = False) -> int:
    """Put a model of a scope's past in force again, and wait until the decider has taken it up.

    Args:
        model: Its id, or any beginning that only one of the scope's has; `initial` is the profile's. Without it, the model that
            the one in force replaced: each time one further back.
        scope: The scope.
        reason: Why, for the record.
        by: Who puts it in force; the login name where it is not given.
        json: Print what came of it as JSON.

    Raises:
        SettingsError: there is no such model, it was refused, or it is in force already.
    """
    deployment = connect()
    histories = asyncio.run(read_histories(deployment))
    history = histories.get(scope, History())
    wanted = model or history.before()
    if wanted is None:
        raise SettingsError(
            f"scope {scope} is under {history.in_force}, and no model is known that was in force before; name one of `npo model list`"
        )
    found = find(deployment, {scope: history}, wanted, scope)
    if found.id == history.in_force:
        raise SettingsError(f"model {found.id} is in force in scope {scope} already; `npo model list --scope {scope}` shows the others")
    if found.id not in {INITIAL, *(arrival.model.id for arrival in history.arrivals)}:
        reasons = [result.reason for result in history.refused if result.model is not None and result.model.id == found.id]
        why = f"retraining refused it ({reasons[0]})" if reasons else "retraining adopted it, and the model topic does not have it"
        raise SettingsError(f"model {found.id} was never in force in scope {scope}: {why}; name one that was")
    if found.id == INITIAL:
        asyncio.run(require_settings_in_use(deployment, scope))
    back = replace(found, origin="rollback", by=by or account())
    return put_in_force(deployment, back, reason, json=json)


@model_app.command(name="import")
def import_model(model: str, *, scope: str, from_scope: str | None = None, reason: str = "", by: As = None, json: bool = False) -> int:
    """Give a scope another scope's model, or one from a file, and wait until the decider has taken it up.

    It gets a new id, the same for the same model and scope; its parent is the model that it was.

    Args:
        model: A file as `npo model show --json` prints it, or with `--from-scope` a model's id or any beginning of it.
        scope: The scope to give it to.
        from_scope: The scope whose model it is.
        reason: Why, for the record.
        by: Who puts it in force; the login name where it is not given.
        json: Print what came of it as JSON.

    Raises:
        SettingsError: there is no such model, or it cannot be used.
    """
    deployment = connect()
    histories = {} if from_scope is None else asyncio.run(read_histories(deployment))
    found = read_model(Path(model)) if from_scope is None else find(deployment, histories, model, from_scope)
    return put_in_force(deployment, imported(found, scope, by or account()), reason, json=json)


def find(deployment: Deployment, histories: dict[str, History], beginning: str, scope: str | None) -> Model:
    """Find the one model whose id begins so.

    Raises:
        SettingsError: none, or several.
    """
    if beginning == INITIAL and scope is not None:
        return initial_model(load_settings(deployment).profile, scope)
    models = [model for name, history in histories.items() if scope in {None, name} for model in history.models()]
    matches = [model for model in models if model.id.startswith(beginning)]
    exact = [model for model in matches if model.id == beginning]
    if len(exact or matches) == 1:
        return (exact or matches)[0]
    where = f" in scope {scope}" if scope else ""
    if matches:
        named = ", ".join(f"{model.id} ({model.scope})" for model in matches[:5])
        raise SettingsError(f"{len(matches)} models begin with {beginning}{where}: {named}; give more of it, or --scope")
    raise SettingsError(f"no model begins with {beginning}{where}; `npo model list` shows them, and `initial` needs a scope")


def put_in_force(deployment: Deployment, model: Model, reason: str, *, json: bool) -> int:
    """Send a model, wait until the decider has taken it up, and print what came of it; 1 where it has not."""
    check(model)
    with Console(stderr=True).status("waiting until the decider has taken it up"):
        came = asyncio.run(send_model(deployment, model, reason))
    if json:
        Console().print_json(data=to_builtins(came))
        return 0 if came.in_force else FAULT
    said = f"model {came.model.id} sent to scope {came.model.scope}"
    if not came.in_force:
        said += f", NOT in force yet after {WAIT_S:.0f} s: do workers of `deciding` run? (`npo status`)"
    elif came.taken is None:
        said += "; it was in force already, and nothing changed"
    else:
        told = came.taken
        said += f"; in force instead of {told.replaced}: {told.classes} classes folded again from {told.answers} answers"
    Console().print(said, markup=False, highlight=False, soft_wrap=True)
    return 0 if came.in_force else FAULT


def standing(histories: dict[str, History], model: Model) -> str:
    """Say what became of a model."""
    history = histories.get(model.scope, History())
    if model.id == history.in_force:
        return "in force"
    if model.id in {INITIAL, *(arrival.model.id for arrival in history.arrivals)}:
        return "was in force"
    return next((f"refused: {each.reason}" for each in history.refused if each.model and each.model.id == model.id), "never in force")


def as_json(history: History) -> dict[str, Any]:
    """Return a history for `--json`."""
    return {
        "in_force": history.in_force,
        "models": [to_builtins(arrival.model) | {"note": arrival.note} for arrival in history.arrivals],
        "refused": [to_builtins(result) for result in history.refused],
    }


def arrivals_table(history: History) -> Table:
    """Draw the models in the order in which they came into force."""
    table = Table("", "model", "since", "origin", "by", "parent", "cost before", "cost", "cheaper by", "ESS", "why", box=None)
    for arrival in history.arrivals:
        model, current = arrival.model, "*" if arrival is history.arrivals[-1] else ""
        since = rfc3339(model.time_ms)[:19] if model.time_ms else "the beginning"
        told = since, model.origin, Text(model.by), Text(model.parent or "")
        table.add_row(current, Text(model.id), *told, *evaluated(model.evaluation), Text(arrival.note))
    return table


def refused_table(results: list[RetrainingResult]) -> Table:
    """Draw what retraining was refused for."""
    table = Table("refused", "when", "window", "cost before", "cost", "cheaper by", "ESS", "reason", box=None)
    for result in results:
        numbers = {} if result.evaluation is None else to_builtins(result.evaluation)
        name = result.model.id if result.model else "-"
        table.add_row(Text(name), rfc3339(result.time_ms)[:19], str(result.window), *evaluated(numbers), Text(result.reason))
    return table


def evaluated(numbers: dict[str, float]) -> list[str]:
    """Write costs before and after, their difference with its standard error, and the effective sample size; dashes where unknown."""

    def text(name: str, form: str) -> str:
        return format(numbers[name], form) if name in numbers else "-"

    difference = f"{text('difference', '.3f')} ± {text('standard_error', '.3f')}" if "difference" in numbers else "-"
    return [text("cost_in_force", ".3f"), text("cost_challenger", ".3f"), difference, text("effective_sample_size", ".0f")]
