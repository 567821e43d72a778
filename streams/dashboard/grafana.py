"""The dashboard as Grafana's JSON. Grafana's SDK is a tool of development: nothing that runs imports this module."""

from collections.abc import Callable
from itertools import count

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from streams.dashboard.panels import ROWS, Kind, Panel, Query

UID, TITLE = "npo", "NPO pipeline"
HEIGHT = 7
# The same for all who look at it, whatever their Prometheus is called.
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
Builder = timeseries.Panel | stat.Panel | table.Panel | statetimeline.Panel


def document() -> str:
    """Return the dashboard as JSON."""
    built = dashboard.Dashboard(TITLE).uid(UID).tags(["npo"]).time("now-6h", "now").refresh("30s").timezone("browser")
    built.description("Records, decisions, answers, processes of the pipeline. Written by `python -m streams.dashboard`; do not edit.")
    built.tooltip(DashboardCursorSync.CROSSHAIR).editable()
    built.with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    built.with_variable(
        dashboard.QueryVariable("scope")
        .label("Scope")
        .datasource(SOURCE)
        .query('label_values({__name__=~"npo_scope_(open|decisions)"}, scope)')
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
    )
    # Links to a panel name it by its number.
    numbers = count(1)
    for row in ROWS:
        built.with_row(dashboard.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            built.with_panel(drawn(panel).id(next(numbers)))
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def drawn(panel: Panel) -> Builder:
    """Return one panel."""
    builder = KINDS[panel.kind](panel)
    builder.title(panel.title).description(panel.description).unit(panel.unit)
    builder.datasource(SOURCE).height(HEIGHT).span(panel.width)
    builder.thresholds(thresholds(panel)).color_scheme(dashboard.FieldColor().mode(colours(panel)))
    if panel.repeat is not None:
        builder.repeat(panel.repeat).repeat_direction("h")
    for query, name in zip(panel.queries, "ABC", strict=False):
        builder.with_target(target(query, name, panel.kind))
    return builder


def target(query: Query, name: str, kind: Kind) -> prometheus.Dataquery:
    """Return one query; a table asks for the moment only."""
    built = prometheus.Dataquery().expr(query.expression).legend_format(query.legend).ref_id(name)
    return built.instant().format(PromQueryFormat.TABLE) if kind == "table" else built.range()


def thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    """Return where a number changes its colour."""
    first, *others = ("red", "green") if panel.low else ("green", "yellow", "red")
    steps = [Threshold(value=None, color=first), *(Threshold(value, colour) for value, colour in zip(panel.steps, others, strict=False))]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def colours(panel: Panel) -> FieldColorModeId:
    """Return what colours follow: the values of numbers and lanes, the names of lines."""
    return FieldColorModeId.THRESHOLDS if panel.kind in {"stat", "states"} else FieldColorModeId.PALETTE_CLASSIC


def line(panel: Panel) -> timeseries.Panel:
    """Return lines over time, with the last value of each beside its name."""
    built = timeseries.Panel().show_points(VisibilityMode.NEVER).line_width(1).axis_soft_min(0)
    built.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    legend = common.VizLegendOptions().show_legend(show_legend=True).placement(LegendPlacement.BOTTOM)
    built.legend(legend.display_mode(LegendDisplayMode.TABLE).calcs(["lastNotNull", "max"]))
    if panel.steps:
        built.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED))
    if panel.repeat is not None:
        dashes = {"fill": "dash", "dash": [10, 10]}
        built.override_by_name("target", [DynamicConfigValue("custom.lineStyle", dashes)])
    return built


def stacked(panel: Panel) -> timeseries.Panel:
    """Return areas over time, one on the other."""
    return line(panel).fill_opacity(40).stacking(common.StackingConfig().mode(StackingMode.NORMAL))


def number(_: Panel) -> stat.Panel:
    """Return the latest numbers, each with its name and its course behind it."""
    shown = stat.Panel().graph_mode(BigValueGraphMode.AREA).color_mode(BigValueColorMode.VALUE).text_mode(BigValueTextMode.AUTO)
    return shown.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).no_value("none")


def states(_: Panel) -> statetimeline.Panel:
    """Return a lane for each series, filled while it is there."""
    shown = statetimeline.Panel().show_value(VisibilityMode.NEVER).merge_values(merge_values=True).no_value("none")
    return shown.legend(common.VizLegendOptions().show_legend(show_legend=False))


def labels(_: Panel) -> table.Panel:
    """Return a table of the labels of the series that are there now."""
    columns = {"excludeByName": {"Time": True}, "renameByName": {"Value": "count"}}
    return (
        table.Panel().show_header(show_header=True).no_value("none").with_transformation(DataTransformerConfig("organize", options=columns))
    )


KINDS: dict[Kind, Callable[[Panel], Builder]] = {"line": line, "stacked": stacked, "stat": number, "states": states, "table": labels}
