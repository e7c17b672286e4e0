"""One image of all pictures: a band per layer, in it a column per mag and a row per plane."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from wkflow.preview.lengths import round_length, shown
from wkflow.preview.pictures import LayerPicture, MagPicture
from wkflow.preview.planes import PLANES, Plane

_PAPER, _INK, _PALE = (255, 255, 255), (24, 28, 36), (110, 116, 128)
_MARGIN, _GAP, _LABEL_WIDTH = 24, 14, 30
_TITLE, _TEXT = 20, 13
_LONGEST_TEXT = 100  # characters
_NARROWEST = 120  # pixels of a column with a text that is broken into lines
_BAR_SHARE = 0.4  # of the column's width


def png(pictures: Iterable[LayerPicture]) -> bytes:
    """The sheet as a file; the same pictures give the same bytes."""
    return encoded(_sheet([_Band.of(picture) for picture in pictures]))


def encoded(image: Image.Image) -> bytes:
    """An image as PNG, without any metadata."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


@dataclass(frozen=True)
class _Column:
    """A mag. ``lines``: of its caption."""

    picture: MagPicture
    lines: tuple[str, ...]
    width: int

    @classmethod
    def of(cls, picture: MagPicture) -> _Column:
        panels = max((image.width for image in picture.panels.values()), default=0)
        head = [f"mag {picture.mag}", _plain(shown(*picture.voxel_size))]
        width = max(panels, _NARROWEST, *(_text_width(line) for line in head))
        notes = [line for note in picture.notes for line in _broken(note, width)]
        return cls(picture, (*head, *notes), width)


@dataclass(frozen=True)
class _Band:
    """A layer. ``rows``: the height of each plane."""

    title: str
    columns: tuple[_Column, ...]
    rows: dict[Plane, int]

    @classmethod
    def of(cls, picture: LayerPicture) -> _Band:
        columns = tuple(map(_Column.of, picture.mags))
        rows = {
            plane: max((mag.panels[plane].height for mag in picture.mags if plane in mag.panels), default=0)
            for plane in PLANES
        }
        layer = picture.layer
        kind = ", ".join(filter(None, (layer.category, layer.voxel_type, layer.further_axes)))
        title = _plain(f"{layer.name} ({kind})")[:_LONGEST_TEXT]
        return cls(title, columns, rows)

    @property
    def caption_height(self) -> int:
        return max((len(column.lines) for column in self.columns), default=0) * (_TEXT + 4) + 6

    @property
    def width(self) -> int:
        columns = _LABEL_WIDTH + sum(column.width + _GAP for column in self.columns)
        return max(columns, _text_width(self.title, _TITLE))

    @property
    def height(self) -> int:
        return _TITLE + _GAP + self.caption_height + sum(self.rows.values()) + _GAP * len(self.rows) + 2 * _TEXT + _GAP


def _sheet(bands: list[_Band]) -> Image.Image:
    width = max((band.width for band in bands), default=0) + 2 * _MARGIN
    height = sum(band.height + _MARGIN for band in bands) + _MARGIN
    image = Image.new("RGB", (width, height), _PAPER)
    top = _MARGIN
    for band in bands:
        _draw_band(image, band, top)
        top += band.height + _MARGIN
    return image


def _draw_band(image: Image.Image, band: _Band, top: int) -> None:
    draw = ImageDraw.Draw(image)
    draw.text((_MARGIN, top), band.title, _INK, _font(_TITLE))
    top += _TITLE + _GAP
    first_row = top + band.caption_height
    for plane, row in _rows(band, first_row):
        draw.text((_MARGIN, row), plane.name, _PALE, _font(_TEXT))
    left = _MARGIN + _LABEL_WIDTH
    for column in band.columns:
        for number, line in enumerate(column.lines):
            draw.text((left, top + number * (_TEXT + 4)), line, _PALE if number else _INK, _font(_TEXT))
        bottom = first_row
        for plane, row in _rows(band, first_row):
            if plane in column.picture.panels:
                image.paste(column.picture.panels[plane], (left, row))
                bottom = row + column.picture.panels[plane].height
        if column.picture.panels:
            _draw_scale_bar(draw, column, left, bottom + _GAP)
        left += column.width + _GAP


def _draw_scale_bar(draw: ImageDraw.ImageDraw, column: _Column, left: int, top: int) -> None:
    longest = max(panel.width for panel in column.picture.panels.values())
    length = round_length(max(_BAR_SHARE * longest, 1) / column.picture.pixels_per_nanometer)
    width = max(1, round(length * column.picture.pixels_per_nanometer))
    draw.rectangle((left, top + 4, left + width - 1, top + 7), _INK)
    draw.text((left + width + 6, top - 2), _plain(shown(length)), _INK, _font(_TEXT))


def _rows(band: _Band, top: int) -> Iterator[tuple[Plane, int]]:
    for plane, height in band.rows.items():
        yield plane, top
        top += height + _GAP


def _broken(text: str, width: int) -> Iterator[str]:
    """Lines that are not wider, if no word is."""
    line = ""
    for word in _plain(text)[: 3 * _LONGEST_TEXT].split():
        longer = f"{line} {word}".strip()
        if line and _text_width(longer) > width:
            yield line
            line = word
        else:
            line = longer
    if line:
        yield line


def _plain(text: str) -> str:
    """What the font can show, which comes with Pillow and is the same everywhere."""
    return text.replace("\u00d7", "x").replace("\u00b5", "u").encode("ascii", "replace").decode()


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _text_width(text: str, size: int = _TEXT) -> int:
    return round(_font(size).getlength(text))
