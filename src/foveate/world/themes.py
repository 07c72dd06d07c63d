"""Themes of scenes: amounts of relief, water, forest, farmland and settlements.

The numbers are plausible for Europe and (for ``drylands``) Mediterranean or steppe values; they
describe an appearance, not a location.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Theme:
    """Composition of a scene. Shares are of the land area, lengths in metres.

    Attributes:
        relief: Height amplitude relative to the horizontal size of the hills.
        sea: Share of the scene under the sea.
        rivers: Widths of the rivers.
        lakes: Share of the scene under lakes.
        forest: Share of the land under closed forest.
        wild: Share of the land under grassland that is not farmed.
        wetland: Reach of wetland around water.
        conifer: Share of the forest that is conifers.
        parcel: Length and width of a typical parcel.
        crops: Relative frequency of cropland, meadow, orchard and fallow parcels.
        hedges: Share of the parcel borders that carry a hedge.
        town: Radius of the largest settlement.
        spacing: Distance between settlements.
        industry: Share of the settlement districts that are industrial.
        quarries: Number of quarries for every 4 square kilometres.
        arid: 0 green to 1 dry.
        soil: Material of ploughed land.
        rare: Object kind -> wanted number (lowest in any scene, for each square kilometre).
    """

    relief: float = 0.03
    sea: float = 0.0
    rivers: tuple[float, ...] = ()
    lakes: float = 0.0
    forest: float = 0.2
    wild: float = 0.15
    wetland: float = 30.0
    conifer: float = 0.3
    parcel: tuple[float, float] = (210.0, 95.0)
    crops: tuple[float, float, float, float] = (0.7, 0.17, 0.05, 0.08)
    hedges: float = 0.25
    town: float = 170.0
    spacing: float = 1500.0
    industry: float = 0.08
    quarries: float = 0.15
    arid: float = 0.0
    soil: str = "soil_brown"
    rare: dict[str, tuple[int, float]] = field(default_factory=dict)


THEMES: dict[str, Theme] = {
    "river": Theme(
        relief=0.012, rivers=(46.0,), lakes=0.012, forest=0.13, wild=0.12, wetland=65.0,
        conifer=0.1, town=165.0,
        rare={"boat": (3, 0.8), "greenhouse": (2, 0.5), "sports_ground": (1, 0.05)},
    ),
    "hills": Theme(
        relief=0.11, rivers=(9.0,), forest=0.56, wild=0.3, wetland=14.0, conifer=0.55,
        parcel=(150.0, 70.0), crops=(0.4, 0.5, 0.08, 0.02), hedges=0.4, town=110.0,
        spacing=1900.0, industry=0.0, quarries=1.0,
        rare={"wind_turbine": (2, 0.3), "pool": (1, 0.1)},
    ),
    "coast": Theme(
        relief=0.035, sea=0.34, forest=0.2, wild=0.34, wetland=22.0, conifer=0.75,
        parcel=(140.0, 70.0), crops=(0.45, 0.25, 0.27, 0.03), town=210.0, soil="soil_red",
        arid=0.3, rare={"boat": (7, 1.6), "pool": (5, 2.0), "storage_tank": (0, 0.05)},
    ),
    "town": Theme(
        relief=0.01, rivers=(32.0,), forest=0.1, wild=0.22, wetland=18.0, conifer=0.2,
        parcel=(190.0, 90.0), town=430.0, spacing=2400.0, industry=0.26,
        rare={
            "storage_tank": (5, 0.8), "sports_ground": (2, 0.25), "pool": (3, 0.8),
            "boat": (1, 0.2),
        },
    ),
    "farmland": Theme(
        relief=0.02, rivers=(6.0,), forest=0.08, wild=0.04, wetland=14.0, parcel=(290.0, 130.0),
        crops=(0.8, 0.1, 0.02, 0.08), hedges=0.18, town=120.0, spacing=1700.0, quarries=0.05,
        rare={"wind_turbine": (3, 0.35), "solar_park": (1, 0.12), "greenhouse": (1, 0.2)},
    ),
    "lakes": Theme(
        relief=0.03, lakes=0.22, forest=0.62, wild=0.3, wetland=55.0, conifer=0.8,
        parcel=(150.0, 80.0), crops=(0.45, 0.5, 0.0, 0.05), town=80.0, spacing=2300.0,
        industry=0.0, rare={"boat": (4, 1.0), "pool": (0, 0.02)},
    ),
    "drylands": Theme(
        relief=0.04, rivers=(16.0,), forest=0.05, wild=0.56, wetland=16.0, conifer=0.3,
        parcel=(260.0, 150.0), crops=(0.42, 0.08, 0.3, 0.2), hedges=0.03, town=130.0,
        spacing=2600.0, quarries=0.6, arid=0.85, soil="soil_pale",
        rare={"pivot_field": (2, 0.35), "solar_park": (1, 0.15), "pool": (1, 0.2)},
    ),
}  # fmt: skip
