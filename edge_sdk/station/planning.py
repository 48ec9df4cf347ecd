"""Planning: how the cores of this machine are shared out among a station's models, from a short measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from edge_sdk.base.clock import Clock
from edge_sdk.inference.model import Model
from edge_sdk.runtime.budget import Budget
from edge_sdk.runtime.overload import Overload
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.runtime.plan import ModelPlan, measure, plan, share, usable_cores
from edge_sdk.runtime.scheduler import Scheduler
from edge_sdk.station.assembly import PRIORITIES, Assembly


def schedule(assembly: Assembly, pipelines: Sequence[Pipeline], *, clock: Clock) -> list[Scheduler]:
    """Measure every model, give it its threads, and put each stream under a scheduler; one budget serves them all.

    Args:
        assembly: What opens a model again with other threads.
        pipelines: The streams, their models opened with one thread or as many as the configuration says.
        clock: For how long blocks have waited.
    """
    plans = plan_streams(assembly, pipelines)
    budget = Budget(usable_cores())
    schedulers = []
    for pipeline in pipelines:
        settings = assembly.config.streams[pipeline.stream]
        schedulers.append(
            Scheduler(
                pipeline,
                clock=clock,
                plans=plans[pipeline.stream],
                budget=budget,
                priority=PRIORITIES[settings.priority],
                deadline_ns=round((settings.deadline_s or 0.0) * 1e9),
                overload=Overload(settings.overload.policy, settings.overload.n),
            )
        )
    return schedulers


def plan_streams(assembly: Assembly, pipelines: Sequence[Pipeline]) -> dict[str, dict[str, ModelPlan]]:
    """What each model of each stream is given; models that get more threads are opened again with them."""
    cores = usable_cores()
    single = {(one.stream, model.name): measure(model) for one in pipelines for model in one.models}
    most = share({f"{stream}/{name}": seconds for (stream, name), seconds in single.items()}, cores=cores)
    plans: dict[str, dict[str, ModelPlan]] = {}
    for pipeline in pipelines:
        settings = assembly.config.streams[pipeline.stream].models
        plans[pipeline.stream] = {}
        for model, chosen in zip(pipeline.models, settings, strict=True):
            taken = {chosen.threads or 1: single[pipeline.stream, model.name]}
            if chosen.threads is None:
                given = plan({model.name: taken}, cores=1)[model.name]
                if given.pooled and most > 1:
                    given = _with_threads(assembly, pipeline, model, taken, most)
            else:
                given = ModelPlan.fixed(model.name, taken)
            plans[pipeline.stream][model.name] = given
    return plans


def _with_threads(
    assembly: Assembly, pipeline: Pipeline, model: Model, taken: Mapping[int, float], threads: int
) -> ModelPlan:
    """Try a large model with more threads; keep it so where they pay."""
    place = pipeline.models.index(model)
    settings = assembly.config.streams[pipeline.stream].models[place]
    wider = assembly.model(msgspec.structs.replace(settings, threads=threads))
    given = plan({model.name: {**taken, threads: measure(wider)}}, cores=threads)[model.name]
    if given.threads == 1:
        wider.close()
    else:
        pipeline.replace(model, wider)
        model.close()
    return given
