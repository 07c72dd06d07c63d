"""The build job: pairs for any region, from polygons and two STAC catalogues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from foveate.errors import ParameterError
from foveate.files import digest, fingerprint
from foveate.observe.jobs import PrepareJob
from foveate.observe.options import Share, grid_shape
from foveate.run.job import Job
from foveate.run.options import AbsolutePath, Bands, Names, Option, PathText

if TYPE_CHECKING:
    from pathlib import Path

    from foveate.observe.build.fetch import Reading
    from foveate.observe.build.footprints import Layout
    from foveate.observe.build.plan import Plan
    from foveate.observe.build.polygons import Polygons
    from foveate.observe.build.rules import Rules
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 1  # increased if the result of a job changes
HR, LR = "hr", "lr"


class BuildJob(Job):
    """Sources of anchors, LR and HR, and criteria for pairs."""

    anchors: Annotated[AbsolutePath, Option("Input")]
    """OpenStreetMap extract (.osm.pbf), or a vector file of polygons with their tags as columns."""
    rules: Annotated[PathText, Option("Input", metavar="osm-66|osm-40|FILE")] = "osm-66"
    """Rules that map tags to concepts: osm-66, osm-40, or a file (TOML, YAML, JSON)."""
    lr: Annotated[AbsolutePath, Option("Input", metavar="CATALOGUE")]
    """STAC of the low resolution: a catalogue, item collection, stac-geoparquet, or collection of
    an API."""
    hr: Annotated[AbsolutePath, Option("Input", metavar="CATALOGUE")]
    """STAC of the high resolution."""
    lr_assets: Annotated[Names, Option("Input", metavar="NAMES")] = Field(["red", "green", "blue"])
    """Assets of LR items used as bands, in order."""
    hr_assets: Annotated[
        Names, Option("Input", default="the only image asset", metavar="NAMES")
    ] = Field([])
    """Assets of HR items used as bands, in order."""
    hr_bands: Annotated[Bands, Option("Input", default="1,2,3")] = Field([1, 2, 3])
    """Bands of the HR assets that correspond to those of the LR, from 1."""
    scl: Annotated[Names, Option("Input", default="the asset named SCL", metavar="NAMES")] = Field(
        []
    )
    """Asset of LR items with the scene classification layer (Sentinel-2); none: clouds are not
    masked."""
    tiles: Annotated[
        tuple[int, int], BeforeValidator(grid_shape),
        Option("Input", metavar="ROWSxCOLS", default="10x10"),
    ] = (10, 10)  # fmt: skip
    """Tiles of each footprint: rows x columns."""
    footprint: Annotated[str, Option("Input", metavar="METRES|DEGREESdeg")] = "2680"
    """Side of a footprint: metres (a square in UTM), or degrees (0.024deg, as in the paper)."""
    hr_gsd: Annotated[float, Option("Input")] = Field(1.0, gt=0)
    """HR pixel size in metres."""
    lr_gsd: Annotated[float, Option("Input")] = Field(10.0, gt=0)
    """LR pixel size in metres."""
    hr_datetime: Annotated[str, Option("Method", metavar="A/B")] = ""
    """Dates of the HR: 2022-01-01/2024-04-01; the newest that covers a footprint is used."""
    lr_datetime: Annotated[str, Option("Method", metavar="A/B")] = ""
    """Dates of the LR: 2023-01-01/2023-12-31; all of them are used if none within --window is."""
    window: Annotated[float, Option("Method")] = Field(183.0, ge=0)
    """Maximum number of days between LR and HR."""
    span: Annotated[float, Option("Method")] = Field(30.0, ge=0)
    """Maximum number of days between HR items of one footprint; 0: the same day."""
    max_cloud: Annotated[float, Option("Method")] = Field(2.0, ge=0, le=100)
    """Cloud cover in per cent that an LR item must stay below."""
    tries: Annotated[int, Option("Method")] = Field(3, ge=1)
    """Maximum number of LR dates to try for a footprint, closest first."""
    max_black: Annotated[Share, Option("Method")] = Field(0.25, ge=0, lt=1)
    """Maximum share of black or cloudy pixels in an LR image, and of black ones in an HR tile."""
    thin: Annotated[float | None, Option("Method", default="the footprint")] = Field(None, ge=0)
    """Minimum distance of anchors in metres, west to east or south to north; 0: keep all."""
    min_concepts: Annotated[int, Option("Method")] = Field(1, ge=1)
    """Minimum number of concepts in a footprint."""
    min_labelled: Annotated[Share, Option("Method")] = Field(0.02, ge=0, le=1)
    """Minimum share of a footprint covered by labelled polygons."""
    limit: Annotated[int | None, Option("Method")] = Field(None, ge=1)
    """Maximum number of candidates to fetch, rare concepts first."""
    region: Annotated[str, Option("Method", metavar="NAME")] = ""
    """Tag or column of the anchors with their region; pairs of one region stay together."""
    block: Annotated[float, Option("Method")] = Field(50.0, gt=0)
    """Side of a spatial block in kilometres, for anchors without a region."""
    workers: int = Field(1, ge=1, le=32)
    """Number of processes that fetch pairs."""
    seed: int = Field(0, ge=0)
    """Seed of the order of anchors and candidates."""

    def layout(self) -> Layout:
        """Return the size of footprints, tiles and pixels.

        Raises:
            ParameterError: The sizes are inconsistent.
        """
        from foveate.observe.build.footprints import layout_of

        if min(self.tiles) < 1 or max(self.tiles) == 1:
            raise ParameterError(
                f"tiles = {self.tiles[0]} x {self.tiles[1]}",
                "A footprint must have at least two tiles.", "--tiles 10x10",
            )  # fmt: skip
        return layout_of(self.footprint, self.tiles, self.hr_gsd, self.lr_gsd)

    def reading(self) -> Reading:
        """Return the options for reading pairs."""
        from foveate.observe.build.fetch import Reading

        return Reading(
            tuple(self.hr_assets), tuple(self.hr_bands), tuple(self.lr_assets), tuple(self.scl),
            self.tiles, self.max_black,
        )  # fmt: skip

    def check(self) -> tuple[Layout, Rules]:
        """Check the inputs; return the layout and the rules."""
        from foveate.observe.build.polygons import need_reader
        from foveate.observe.build.rules import read_rules
        from foveate.pool.stac.search import Search
        from foveate.pool.stac.sources import stac_paths

        layout, rules = self.layout(), read_rules(self.rules)
        need_reader(self.anchors)
        for option, path in (("--lr", self.lr), ("--hr", self.hr)):
            if stac_paths(path) is None:
                raise ParameterError(
                    f"{option} {path!r}",
                    "A catalogue is STAC: JSON, stac-geoparquet, or a collection of an API "
                    "(https://HOST/collections/NAME).",
                    "Create items for your own files: rio stac, or pystac.",
                )
        Search(datetime=self.hr_datetime)
        Search(datetime=self.lr_datetime)
        return layout, rules

    def planned(self, ready: Any, progress: ProgressFn | None = None) -> tuple[Plan, Polygons]:
        """Read anchors and catalogues, and make the plan.

        Args:
            ready: Return value of `check`.
            progress: Called with ticks.

        Raises:
            DataError: An input cannot be read, or no pair is left.
        """
        from foveate.observe.build.planning import plan_job

        layout, rules = ready
        return plan_job(self, layout, rules, progress=progress)

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Make the plan, fetch its pairs, label their tiles, and write pairs for training."""
        from foveate.observe.build import building
        from foveate.observe.build.finishing import finish

        layout, rules = ready
        plan_key = digest(
            [VERSION, fingerprint(self.anchors), rules.to_dict(), self._plan_options()]
        )

        def plan() -> list[str]:
            return building.save(run.path, *self.planned(ready, progress), rules)

        run.do("plan", plan_key, plan)
        fetch_key = digest([plan_key, self.max_black])
        run.do("fetch", fetch_key, lambda: building.fetch(run.path, self, layout, progress))
        return finish(run, self, layout, rules, progress)

    def _plan_options(self) -> dict[str, Any]:
        """Return the options that affect the plan; catalogues count by path, not by content."""
        return self.model_dump(mode="json", exclude={"workers", "max_black", "anchors", "rules"})

    def prepared(self, root: Path) -> PrepareJob:
        """Return the job that opens the pairs of a run.

        Args:
            root: The run directory.
        """
        from foveate.observe.build.finishing import known_concepts
        from foveate.observe.build.rules import read_rules

        return PrepareJob(
            images=[str(root / HR)], lr=[str(root / LR)], tiles=self.tiles, nodata=None,
            concepts=[c.to_dict() for c in known_concepts(root, read_rules(self.rules).concepts)],
        )  # fmt: skip
