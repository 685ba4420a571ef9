"""Following the registry: when an alias moves, the model behind it is loaded beside the old one and then replaces it.

Add a step a new version must pass before it serves to the `accept` that is handed in. Keep registries out: `stores` has
them, as a `Source`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Lock, Thread
from typing import Protocol

from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.serve.metrics import Metrics
from monitoring_pipeline.serve.routing import CHAMPION, Serving
from monitoring_pipeline.serve.scoring import Scorer

_log = logging.getLogger(__name__)


class Source(Protocol):
    """Where models come from. Raises RegistryError where it cannot be asked."""

    def aliases(self) -> Mapping[str, str]:
        """Return the version every alias points to."""
        ...

    def load(self, version: str) -> Scorer: ...


class Models:
    """The models in service. `build` makes the chains of scorers, by alias.

    A version that cannot be loaded, or that `accept` raises RegistryError for, changes nothing: what served goes on,
    and `problem` says why.
    """

    def __init__(
        self,
        source: Source,
        build: Callable[[Mapping[str, Scorer]], Serving],
        *,
        aliases: Sequence[str] = (CHAMPION,),
        accept: Callable[[Scorer], None],
        metrics: Metrics,
        poll_s: float = 10.0,
    ) -> None:
        self._source, self._build, self._aliases = source, build, tuple(aliases)
        self._accept, self._metrics, self._poll_s = accept, metrics, poll_s
        self._serving: Serving | None = None
        self._ended, self._refreshing = Event(), Lock()
        self._thread: Thread | None = None
        self.problem = ""

    @property
    def serving(self) -> Serving:
        """What serves now. A request takes it once: the models it holds live until the request has ended."""
        if self._serving is None:
            self.refresh()
        assert self._serving is not None
        return self._serving

    def refresh(self) -> bool:
        """Ask the registry and load what is new; returns whether anything changed.

        Raises RegistryError while there is nothing yet that could go on serving.
        """
        with self._refreshing:
            try:
                changed = self._follow()
            except RegistryError as error:
                self._metrics.add("serving_reloads_total", "failed")
                self.problem = str(error)
                if self._serving is None:
                    raise
                _log.warning("the models in service stay: %s", error)
                return False
            if changed:
                self._metrics.add("serving_reloads_total", "loaded")
            return changed

    def start(self) -> None:
        """Follow the registry from now on, in a thread of its own."""
        self._thread = Thread(target=self._poll, name="models", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def _poll(self) -> None:
        while not self._ended.wait(self._poll_s):
            try:
                self.refresh()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next attempt may succeed
                self.problem = f"{type(error).__name__}: {error}"
                _log.exception("following the registry failed")

    def _follow(self) -> bool:
        pointers = self._source.aliases()
        if CHAMPION not in pointers:
            raise RegistryError(f"no version has the alias {CHAMPION!r}. Point it to one.")
        before = {} if self._serving is None else dict(self._serving.scorers)
        # By version: a challenger that is promoted is in memory already.
        known = {scorer.version: scorer for scorer in before.values()}
        found: dict[str, Scorer] = {}
        self.problem = ""
        for alias in (alias for alias in self._aliases if alias in pointers):
            try:
                found[alias] = known.get(pointers[alias]) or self._loaded(pointers[alias])
            except RegistryError as error:
                if alias == CHAMPION:
                    raise
                # A broken challenger must not keep a new champion out.
                self.problem = str(error)
                _log.warning("%s is not replaced: %s", alias, error)
                if alias in before:
                    found[alias] = before[alias]
            else:
                known[pointers[alias]] = found[alias]
        if {alias: scorer.version for alias, scorer in found.items()} == {
            alias: scorer.version for alias, scorer in before.items()
        }:
            return False
        self._serving = self._build(found)
        _log.info("in service: %s", ", ".join(f"{alias} v{scorer.version}" for alias, scorer in found.items()))
        return True

    def _loaded(self, version: str) -> Scorer:
        scorer = self._source.load(version)
        self._accept(scorer)
        return scorer
