"""What a page is laid by at first: squares, ArUco markers and features → homographies.

Each is found on a shrunken copy of the page, once for all forms, and then held against one
form. What comes of it is a first estimate: good enough to look for print from, and no proof
that the page is of this form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.types import MM_PER_INCH, Anchor, Gray, Homography, PageTemplate, Points

Markers = dict[tuple[str, int], tuple[float, float]]  # dictionary, number → x, y on the page

VIEW_SIDE = 1400  # longer side of the copy of a page that anchors are sought in
THUMBNAIL_SIDE = 600  # of that in which it is told whether a page has ink
FEATURE_SIDE = 1000  # and of that for features
MOST_FEATURES = 1200
CORNER = 0.22  # share of the width and height of a page that its corners take
SQUARE_REACH = 0.16  # share of the page's longer side that an anchor may be from its place
LEAST_INLIERS = 14
ARUCO = {
    "4x4_50": cv2.aruco.DICT_4X4_50,
    "4x4_100": cv2.aruco.DICT_4X4_100,
    "5x5_50": cv2.aruco.DICT_5X5_50,
    "5x5_100": cv2.aruco.DICT_5X5_100,
    "6x6_50": cv2.aruco.DICT_6X6_50,
    "6x6_250": cv2.aruco.DICT_6X6_250,
}


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A shrunken copy of the page: `scale` is view pixels per page pixel.

    `thumbnail` is a smaller one, that takes hardly more time beside the first.
    """

    image: Gray
    scale: float
    thumbnail: Gray


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Keypoints of a picture: points in its own pixels, and their descriptors."""

    points: Points
    descriptors: NDArray[np.uint8]


def resize(image: Gray, scale: float) -> Gray:
    """Make a picture smaller; it is never made larger."""
    if scale >= 1.0:
        return image
    h, w = image.shape
    return resize_to(image, (max(1, round(w * scale)), max(1, round(h * scale))))


def resize_to(image: Gray, size: tuple[int, int]) -> Gray:
    """Bring a picture to a width and a height."""
    return resize_to_all(image, [size])[0]


def resize_to_all(image: Gray, sizes: Sequence[tuple[int, int]]) -> list[Gray]:
    """Bring a picture to several widths and heights, the largest first.

    It is halved as often as that goes, which is fifteen times as quick as other averages, and
    then interpolated: of less than two by two pixels no other is needed.
    """
    whole, times, resized = image.shape, 1, []
    for size in sizes:
        while image.shape[0] >= 2 * size[1] and image.shape[1] >= 2 * size[0]:
            rows, columns = image.shape[0] // 2, image.shape[1] // 2
            even = image[: 2 * rows, : 2 * columns]
            image = cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA)
            times *= 2
        resized.append(_interpolated(image, size, times, whole))
    return resized


def _interpolated(
    image: Gray, size: tuple[int, int], times: int, whole: tuple[int, ...]
) -> Gray:
    """Bring a picture, halved to so many times as small as the `whole`, to a size."""
    h, w = whole
    if (image.shape[0] * times, image.shape[1] * times) == (h, w):
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    # An odd row or column was left out: what is there stays in its place all the same.
    across, down = times * size[0] / w, times * size[1] / h
    frame = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2]])
    resized: Gray = cv2.warpAffine(image, frame, size, borderMode=cv2.BORDER_REPLICATE)
    return resized


def view_of(image: Gray) -> View:
    """Shrink a page to the size that landmarks are sought at."""
    h, w = image.shape
    scale, smaller = (min(1.0, side / max(h, w)) for side in (VIEW_SIDE, THUMBNAIL_SIDE))
    size = max(1, round(w * scale)), max(1, round(h * scale))
    thumb = max(8, round(w * smaller)), max(8, round(h * smaller))
    if scale == 1.0:
        return View(image, scale, resize_to(image, thumb))
    shrunken, thumbnail = resize_to_all(image, [size, thumb])
    return View(shrunken, scale, thumbnail)


def find_squares(view: View) -> NDArray[np.float64]:
    """Find solid dark squares: rows of x, y, side in page pixels."""
    blurred = cv2.GaussianBlur(view.image, (3, 3), 0)
    ink = cv2.adaptiveThreshold(
        blurred, 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, 101, 40
    )
    _, _, stats, centers = cv2.connectedComponentsWithStatsWithAlgorithm(
        ink, 8, cv2.CV_32S, cv2.CCL_BBDT
    )
    w, h, area = (stats[:, i].astype(np.float64) for i in (2, 3, 4))
    side = np.sqrt(area)
    is_square = (
        (side >= 6)
        & (side <= max(view.image.shape) / 15)
        & (np.minimum(w, h) >= 0.75 * np.maximum(w, h))
        & (area >= 0.72 * w * h)
    )
    is_square[0] = False
    rows = np.column_stack([centers[is_square], side[is_square]]) / view.scale
    return rows.reshape(-1, 3)


def from_anchors(
    view: View,
    template: PageTemplate,
    squares: NDArray[np.float64],
    markers: Markers,
) -> list[Homography]:
    """Estimate homographies, page → template, from the printed anchors."""
    aruco = [anchor for anchor in template.anchors if anchor.kind == "aruco"]
    if len(aruco) >= 3:
        start = _from_aruco(markers, aruco)
        return [] if start is None else [start]
    square = [anchor for anchor in template.anchors if anchor.kind == "square"]
    if len(square) < 3 or len(squares) < 3:
        return []
    h, w = (side / view.scale for side in view.image.shape)
    starts = []
    for turns in range(4):
        portrait = turns % 2 == 0
        turned_w, turned_h = (w, h) if portrait else (h, w)
        ratio = (turned_w / template.width) / (turned_h / template.height)
        if not 0.75 < ratio < 1.33:
            continue
        start = _from_squares(square, template, squares, _turn(w, h, turns), turned_w, turned_h)
        if start is not None:
            starts.append(start)
    return starts


def _turn(w: float, h: float, turns: int) -> Homography:
    """Turn page coordinates clockwise by `turns` quarter turns, about the page."""
    matrices = (
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, -1, h], [1, 0, 0], [0, 0, 1]],
        [[-1, 0, w], [0, -1, h], [0, 0, 1]],
        [[0, 1, 0], [-1, 0, w], [0, 0, 1]],
    )
    return np.array(matrices[turns], np.float64)


def _from_squares(
    anchors: Sequence[Anchor],
    template: PageTemplate,
    squares: NDArray[np.float64],
    turn: Homography,
    w: float,
    h: float,
) -> Homography | None:
    """Pair the anchors with the squares nearest to where the whole page would have them."""
    scale_x, scale_y = w / template.width, h / template.height
    places = apply(turn, squares[:, :2])
    reach = SQUARE_REACH * max(w, h)
    targets, found = [], []
    for anchor in anchors:
        expected = np.array([anchor.center[0] * scale_x, anchor.center[1] * scale_y])
        size = anchor.size * (scale_x + scale_y) / 2
        distance = np.hypot(*(places - expected).T)
        likely = (np.abs(np.log(squares[:, 2] / size)) < 0.45) & (distance < reach)
        if likely.any():
            nearest = int(np.flatnonzero(likely)[np.argmin(distance[likely])])
            targets.append(anchor.center)
            found.append(squares[nearest, :2])
    if len(found) < 3 or len({tuple(p) for p in found}) < len(found):
        return None
    return _solve(np.array(found), np.array(targets, np.float64))


def find_markers(
    view: View, templates: Sequence[PageTemplate], *, in_corners: bool = False
) -> Markers:
    """Find the ArUco markers of every dictionary that some form uses.

    Parameters
    ----------
    in_corners
        Look in the corners of the page, where anchors are on a flat scan: quicker by far. All
        of it is looked at only where some of a form's markers are there, and others not.
    """
    anchors = [anchor for template in templates for anchor in template.anchors]
    detectors = {
        name: cv2.aruco.ArucoDetector(
            cv2.aruco.getPredefinedDictionary(ARUCO[name]), cv2.aruco.DetectorParameters()
        )
        for name in sorted({a.dictionary for a in anchors if a.dictionary is not None})
    }
    if in_corners:
        there = _markers_in(_corners(view.image), detectors, view)
        if not any(_has_part(there, template) for template in templates):
            return there
    return _markers_in([(0, 0, view.image)], detectors, view)


def _markers_in(
    parts: Sequence[tuple[int, int, Gray]],
    detectors: Mapping[str, cv2.aruco.ArucoDetector],
    view: View,
) -> Markers:
    """Find markers in parts of a view; a part has its left and top before it."""
    found: Markers = {}
    least = cv2.aruco.DetectorParameters().minMarkerPerimeterRate * max(view.image.shape)
    for name, detector in detectors.items():
        for left, top, part in parts:
            parameters = detector.getDetectorParameters()
            parameters.minMarkerPerimeterRate = least / max(part.shape)
            detector.setDetectorParameters(parameters)
            quads, ids, _ = detector.detectMarkers(part)
            for number, quad in zip([] if ids is None else ids.ravel(), quads, strict=False):
                x, y = (quad.reshape(4, 2).mean(0) + np.array([left, top])) / view.scale
                found[name, int(number)] = (float(x), float(y))
    return found


def _corners(image: Gray) -> list[tuple[int, int, Gray]]:
    """Cut the four corners out of a picture; left and top of each before it."""
    h, w = image.shape
    rows, columns = max(1, round(CORNER * h)), max(1, round(CORNER * w))
    return [
        (left, top, np.ascontiguousarray(image[top : top + rows, left : left + columns]))
        for top in (0, h - rows)
        for left in (0, w - columns)
    ]


def _has_part(markers: Markers, template: PageTemplate) -> bool:
    """Say whether some of a form's markers were found, and others not."""
    found = [
        (anchor.dictionary, anchor.id) in markers
        for anchor in template.anchors
        if anchor.kind == "aruco"
    ]
    return any(found) and not all(found)


def _from_aruco(markers: Markers, anchors: Sequence[Anchor]) -> Homography | None:
    """Pair ArUco anchors with the markers of the same number."""
    known = [a for a in anchors if (a.dictionary, a.id) in markers]
    if len(known) < 3:
        return None
    found = np.array([markers[a.dictionary or "", a.id or 0] for a in known], np.float64)
    return _solve(found, np.array([a.center for a in known], np.float64))


def _solve(found: Points, targets: Points) -> Homography | None:
    """Fit page → template: affine from three points, a homography from four or more."""
    if len(found) == 3:
        affine = cv2.getAffineTransform(found.astype(np.float32), targets.astype(np.float32))
        return np.vstack([affine, [0.0, 0.0, 1.0]])
    matrix, _ = cv2.findHomography(found, targets, 0)
    return None if matrix is None else np.asarray(matrix, np.float64)


def find_features(view: View) -> Features | None:
    """Find SIFT features; their points are in the pixels of the whole picture.

    References
    ----------
    Lowe, International Journal of Computer Vision 60 (2004) 91–110.
    """
    shrink = min(1.0, FEATURE_SIDE / max(view.image.shape))
    detector = cv2.SIFT.create(nfeatures=MOST_FEATURES, contrastThreshold=0.03)
    keypoints, descriptors = detector.detectAndCompute(resize(view.image, shrink), None)
    if descriptors is None or len(keypoints) < LEAST_INLIERS:
        return None
    points = np.array([k.pt for k in keypoints], np.float64) / (view.scale * shrink)
    return Features(points, np.asarray(descriptors))


def from_features(
    found: Features | None, wanted: Features | None, dpi: float
) -> Homography | None:
    """Match features both ways round and fit a homography, page → template.

    Parameters
    ----------
    found, wanted
        Features of the page, and of the empty form at `dpi`; None where there are too few.
    """
    if found is None or wanted is None:
        return None
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    pairs = matcher.knnMatch(found.descriptors, wanted.descriptors, k=2)
    kept = [p[0] for p in pairs if len(p) == 2 and p[0].distance < 0.82 * p[1].distance]
    if len(kept) < LEAST_INLIERS:
        return None
    source = found.points[[m.queryIdx for m in kept]]
    target = wanted.points[[m.trainIdx for m in kept]]
    tolerance = dpi * 1.5 / MM_PER_INCH
    matrix, inliers = cv2.findHomography(source, target, cv2.USAC_MAGSAC, tolerance)
    if matrix is None or int(inliers.sum()) < LEAST_INLIERS or not is_sane(matrix):
        return None
    return np.asarray(matrix, np.float64)


def is_sane(matrix: NDArray[np.float64]) -> bool:
    """Refuse mirrored, collapsed and wildly perspective homographies."""
    return bool(np.linalg.det(matrix[:2, :2]) > 1e-4 and abs(matrix[2, :2]).max() < 2e-3)


def apply(matrix: Homography, points: Points) -> Points:
    """Take points (N, 2) through a homography."""
    flat = np.asarray(points, np.float64).reshape(-1, 2)
    mapped = np.column_stack([flat, np.ones(len(flat))]) @ matrix.T
    result: Points = mapped[:, :2] / mapped[:, 2:]
    return result
