"""Raw label ids of SemanticKITTI and the classes they belong to."""

from __future__ import annotations

from enum import IntEnum


class Raw(IntEnum):
    """Semantic id in the low 16 bits of a `.label` entry (`semantic-kitti.yaml`, key `labels`)."""

    UNLABELED = 0
    OUTLIER = 1
    CAR = 10
    BICYCLE = 11
    BUS = 13
    MOTORCYCLE = 15
    ON_RAILS = 16
    TRUCK = 18
    OTHER_VEHICLE = 20
    PERSON = 30
    BICYCLIST = 31
    MOTORCYCLIST = 32
    ROAD = 40
    PARKING = 44
    SIDEWALK = 48
    OTHER_GROUND = 49
    BUILDING = 50
    FENCE = 51
    OTHER_STRUCTURE = 52
    LANE_MARKING = 60
    VEGETATION = 70
    TRUNK = 71
    TERRAIN = 72
    POLE = 80
    TRAFFIC_SIGN = 81
    OTHER_OBJECT = 99
    MOVING_CAR = 252
    MOVING_BICYCLIST = 253
    MOVING_PERSON = 254
    MOVING_MOTORCYCLIST = 255
    MOVING_ON_RAILS = 256
    MOVING_BUS = 257
    MOVING_TRUCK = 258
    MOVING_OTHER_VEHICLE = 259


MOVING: dict[Raw, Raw] = {
    Raw.CAR: Raw.MOVING_CAR,
    Raw.BICYCLIST: Raw.MOVING_BICYCLIST,
    Raw.PERSON: Raw.MOVING_PERSON,
    Raw.MOTORCYCLIST: Raw.MOVING_MOTORCYCLIST,
    Raw.ON_RAILS: Raw.MOVING_ON_RAILS,
    Raw.BUS: Raw.MOVING_BUS,
    Raw.TRUCK: Raw.MOVING_TRUCK,
    Raw.OTHER_VEHICLE: Raw.MOVING_OTHER_VEHICLE,
}
"""The id that a thing gets while it moves."""

CLASSES: dict[str, tuple[Raw, ...]] = {
    "car": (Raw.CAR, Raw.MOVING_CAR),
    "bicycle": (Raw.BICYCLE,),
    "motorcycle": (Raw.MOTORCYCLE,),
    "truck": (Raw.TRUCK, Raw.MOVING_TRUCK),
    "other-vehicle": (
        Raw.OTHER_VEHICLE,
        Raw.BUS,
        Raw.ON_RAILS,
        Raw.MOVING_OTHER_VEHICLE,
        Raw.MOVING_BUS,
        Raw.MOVING_ON_RAILS,
    ),
    "person": (Raw.PERSON, Raw.MOVING_PERSON),
    "bicyclist": (Raw.BICYCLIST, Raw.MOVING_BICYCLIST),
    "motorcyclist": (Raw.MOTORCYCLIST, Raw.MOVING_MOTORCYCLIST),
    "road": (Raw.ROAD, Raw.LANE_MARKING),
    "parking": (Raw.PARKING,),
    "sidewalk": (Raw.SIDEWALK,),
    "other-ground": (Raw.OTHER_GROUND,),
    "building": (Raw.BUILDING,),
    "fence": (Raw.FENCE,),
    "vegetation": (Raw.VEGETATION,),
    "trunk": (Raw.TRUNK,),
    "terrain": (Raw.TERRAIN,),
    "pole": (Raw.POLE,),
    "traffic-sign": (Raw.TRAFFIC_SIGN,),
}
"""The 19 classes of the single-scan benchmark, in its order, with the raw ids that they merge."""

CLASS_OF: dict[Raw, str] = {raw: name for name, raws in CLASSES.items() for raw in raws}
"""Class name of every raw id that has one."""
