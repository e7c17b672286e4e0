"""``--keep-going`` begins before a run: layers that no plan can be made for are left out, told, and the others are done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from wkflow.config import Config
from wkflow.errors import ArrayError, DatasetError, PipelineError
from wkflow.run import Run, current_run, refused_layers


@dataclass(frozen=True)
class Possible:
    """``run``: of the layers that a plan can be made for, which ``config`` names; ``refused``: why there is none for others."""

    run: Run
    config: Config
    refused: tuple[str, ...] = ()

    @contextmanager
    def told(self) -> Iterator[None]:
        """In the end, layers that were left out are told as those are that have failed. Raises :class:`PipelineError`."""
        try:
            yield
        except PipelineError as error:
            raise PipelineError("\n\n".join((*self.refused, str(error)))) from error
        if self.refused:
            raise PipelineError("\n\n".join(self.refused))


def possible_run(config: Config, *, keep_going: bool, to_look: bool = False) -> Possible:
    """:func:`wkflow.run.current_run`; if that fails for some layers, of the others."""
    try:
        return Possible(current_run(config, to_look=to_look), config)
    except (DatasetError, ArrayError) as error:
        if not keep_going or error.exit_code != DatasetError.exit_code:
            raise
        others, refused = refused_layers(config)
        if not others or not refused:
            raise
    # Who waits for a receipt waits for all layers.
    config = config.model_copy(update={"layer_names": others, "receipt": None})
    run = current_run(config, to_look=to_look)
    notes = (f"layer {name!r} is left out: {error.what}" for name, error in refused.items())
    run = replace(run, notes=(*run.notes, *notes))
    return Possible(run, config, tuple(map(str, refused.values())))
