"""Pictures for slides whose parts come and go: as SVG that moves by style sheet alone, and as GIF.

A scene is one picture and, for each part of it that is not there all the time, the frames that show it. The SVG stands
still, as the last frame, where the viewer prefers reduced motion.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from PIL import Image

from ... import paper
from ...rules import DIALECTS, RULES
from ..cells.bricks import bracket, row
from ..cells.dialects import step_lengths
from ..cells.figures import OFF_DIAGONAL, Array, Picture, contours, look, plain
from ..light import light
from ..widgets import presets
from ..widgets.surfaces import SURFACES

__all__ = ["SCENES", "Scene", "regrouping", "ten_methods", "warm_up"]

#: Pixels an inch of a GIF.
DPI = 150
#: Points; what moves less is not drawn again.
SMALL = 0.2


@dataclass
class Scene:
    """A picture of `frames` frames, shown `rate` a second; the last one stays for `rest` seconds, then it begins again.

    `parts`: an artist, the first frame that shows it, and the first that no longer does. All others are always there.
    """

    picture: Picture
    frames: int
    rate: float
    rest: float = 3.0
    parts: list[tuple[Artist, int, int]] = field(default_factory=list)

    def show(self, first: int, last: int, *artists: Artist) -> None:
        """Let these be there from frame `first` to before frame `last`."""
        self.parts += [(artist, first, min(last, self.frames)) for artist in artists]

    def svg(self, title: str, credit: str) -> str:
        """The scene as SVG, with its title and, as description, who made it and under which licence."""
        for k, (artist, first, last) in enumerate(self.parts):
            artist.set_gid(f"part-{first}-{last}-{k}")
        text = self.picture._repr_svg_()
        text = re.sub(r'<g id="part-(\d+)-(\d+)-\d+">', r'<g class="part-\1-\2">', text)
        text = light(re.sub(r'style="([^"]*)"', _dash_apart, text))
        text = re.sub(r"<!DOCTYPE[^>]*>\s*", "", text)
        text = re.sub(r'<g class="([^"]*)"><path ([^>]*)/></g>', r'<path class="\1" \2/>', text)
        styles: dict[str, str] = {}
        text = re.sub(r"<(path|use)( [^>]*?)(/?)>", lambda found: _classed(found, styles), text)
        spans = sorted({(first, last) for _, first, last in self.parts})
        names = {span: f"p{k}" for k, span in enumerate(spans)}
        text = re.sub(r"part-(\d+)-(\d+)", lambda found: names[int(found[1]), int(found[2])], text)
        head = f"<title>{escape(title)}</title><desc>{escape(credit)}</desc><style>{self._sheet(names, styles)}</style>"
        return re.sub(r"(<svg[^>]*>)", lambda found: found[1] + head, text, count=1)

    def _sheet(self, names: dict[tuple[int, int], str], styles: dict[str, str]) -> str:
        """Every look once; then when each part is there, unless the viewer wants nothing to move."""
        seconds = self.frames / self.rate + self.rest

        def at(frame: int) -> str:
            return f"{100 * frame / self.rate / seconds:.2f}%"

        rules = [f".{name}{{{_css(attributes)}}}" for attributes, name in styles.items()]
        rules += [f".{name}{{visibility:hidden}}" for (_, last), name in names.items() if last < self.frames]
        moving = []
        for (first, last), name in names.items():
            stops = ["0%{visibility:hidden}" if first else "", f"{at(first)}{{visibility:visible}}"]
            stops += [f"{at(last)}{{visibility:hidden}}"] if last < self.frames else []
            moving.append(
                f"@keyframes {name}{{{''.join(stops)}}}.{name}{{animation:{name} {seconds:g}s step-end infinite}}"
            )
        ground = "svg{background:#fff}"
        return f"{ground}{''.join(rules)}@media (prefers-reduced-motion:no-preference){{{''.join(moving)}}}"

    def gif(self, credit: str) -> bytes:
        """The scene as GIF, with who made it as its comment. What stays is drawn once."""
        figure, before = self.picture, (self.picture.dpi, self.picture.get_facecolor())
        self._animate(True)
        figure.set_dpi(DPI)
        figure.set_facecolor("white")
        canvas: Any = FigureCanvasAgg(figure)  # matplotlib says of few of its methods what they take
        canvas.draw()
        ground, pages = canvas.copy_from_bbox(figure.bbox), []
        for frame in range(self.frames):
            canvas.restore_region(ground)
            for artist, first, last in self.parts:
                if first == frame and last == self.frames:
                    artist.draw(canvas.get_renderer())
            ground = canvas.copy_from_bbox(figure.bbox)
            for artist, first, last in self.parts:
                if first <= frame < last < self.frames:
                    artist.draw(canvas.get_renderer())
            pages.append(Image.fromarray(np.array(canvas.buffer_rgba())[..., :3]))
        figure.set_dpi(before[0])
        figure.set_facecolor(before[1])
        self._animate(False)
        palette = pages[-1].quantize(128)
        opening, *others = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in pages]
        times = [round(1000 / self.rate)] * (self.frames - 1) + [round(1000 * self.rest)]
        opening.save(
            buffer := io.BytesIO(), "GIF", save_all=True, append_images=others, duration=times, loop=0, comment=credit
        )
        return buffer.getvalue()

    def _animate(self, on: bool) -> None:
        """Whether the parts are left out when the picture as a whole is drawn."""
        for artist, _, _ in self.parts:
            artist.set_animated(on)

    def still(self) -> Picture:
        """The last frame as a picture of its own; the scene is used up."""
        for artist, _, last in self.parts:
            artist.set_visible(last == self.frames)
        return self.picture


def _dash_apart(found: re.Match[str]) -> str:
    """The offset of a dash as an attribute of its own, since every piece of a line has another."""
    style, offset = found[1], re.search(r"stroke-dashoffset: ([\d.]+); ?", found[1])
    if not offset:
        return found[0]
    return f'stroke-dashoffset="{float(offset[1]):.1f}" style="{style.replace(offset[0], "")}"'


#: Attributes that many parts have in common, in the order in which they are written.
_LOOK = re.compile(
    r"((?: (?:clip-path|fill|fill-opacity|stroke|stroke-dasharray|stroke-linecap|stroke-width)=\"[^\"]*\")+)"
)


def _css(attributes: str) -> str:
    return re.sub(r' ([a-z-]+)="([^"]*)"', r"\1:\2;", attributes)


def _classed(found: re.Match[str], styles: dict[str, str]) -> str:
    """An element with its look as a class; `styles` has the classes so far."""
    tag, attributes, end = found.groups()
    names = re.findall(r' class="([^"]*)"', attributes)
    attributes = re.sub(r' class="[^"]*"', "", attributes)
    looks = "".join(_LOOK.findall(attributes))
    if looks:
        names.append(styles.setdefault(looks, f"s{len(styles)}"))
    return (
        f'<{tag} class="{" ".join(names)}"{_LOOK.sub("", attributes)}{end}>' if names else f"<{tag}{attributes}{end}>"
    )


def _grow(scene: Scene, ax: Any, x: Array, y: Array, style: dict[str, Any]) -> None:
    """A line that at frame k has got to its k-th point, where its marker is. The axes have their final limits."""
    dash = style.get("linestyle", "-")
    pattern = () if isinstance(dash, str) else dash[1]
    places = ax.transData.transform(np.stack([x, y], axis=-1)) * 72 / ax.figure.dpi
    walked = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(places, axis=0).T))]) / mpl.rcParams["lines.linewidth"]
    ink = {"color": style["color"], "marker": style["marker"], "markersize": 8, "linestyle": "none", "zorder": 5}
    ink |= {"markeredgecolor": "white", "markeredgewidth": 0.8}
    since = 0  # the frame from which on the marker is where it is now
    for frame in range(1, len(x)):
        if walked[frame] - walked[frame - 1] > SMALL:
            offset = (round(float(walked[frame - 1] % sum(pattern)), 2), pattern) if pattern else "-"
            pen = {"color": style["color"], "linestyle": offset, "dash_capstyle": "butt", "solid_capstyle": "round"}
            scene.show(
                frame, scene.frames, ax.add_line(Line2D(x[frame - 1 : frame + 1], y[frame - 1 : frame + 1], **pen))
            )
        if np.hypot(*(places[frame] - places[since])) > SMALL:
            at = [x[since]], [y[since]]
            scene.show(since, frame, ax.add_line(Line2D(*at, **ink)))
            since = frame
    scene.show(since, scene.frames, ax.add_line(Line2D([x[since]], [y[since]], **ink)))


# ---------------------------------------------------------------- the scenes


def ten_methods() -> Scene:
    """The paths of all ten methods in the ravine, from one start, each at its best rate."""
    state = presets.on("ravine", *RULES, start=OFF_DIAGONAL, best=True)
    surface, paths, rates = SURFACES["ravine"], presets.paths(state), presets.best_rates(state)
    T = surface.steps
    picture = Picture(figsize=(8.0, 4.5))
    plane = picture.subplots()
    xlim, ylim = (-1.35, 0.7), (-1.25, 0.65)
    contours(plane, surface.f, xlim, ylim, surface.minima)
    plane.set(xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", xlim=xlim, ylim=ylim)
    plane.grid(False)
    for name in paths:
        plane.plot([], [], **look(name), label=f"{name}, η = {rates[name]:.2g}")
    picture.legend(*plane.get_legend_handles_labels(), loc="outside right center", fontsize=9)
    picture.draw_without_rendering()
    scene = Scene(picture, frames=T + 1, rate=8)
    for name, θ in paths.items():
        _grow(scene, plane, θ[:, 0], θ[:, 1], look(name))
        picture.data |= {f"{name} θ₁": θ[:, 0], f"{name} θ₂": θ[:, 1]}
    count = [plane.text(0.99, 0.97, f"step {t}", transform=plane.transAxes, ha="right", va="top") for t in range(T + 1)]
    for t, text in enumerate(count):
        scene.show(t, t + 1 if t < T else T + 1, text)
    last = {name: float(surface.f(θ[-1])) for name, θ in paths.items()}
    order = ", ".join(sorted(last, key=lambda name: last[name]))
    picture.alt = f"After {T} steps the methods, from the lowest loss to the highest: {order}."
    return scene


def regrouping(steps: int = 3, glide: int = 10) -> Scene:
    """The row of terms; the brackets of Adam's steps come, then move on by one brick, and are Nadam's."""
    picture = Picture(figsize=(8.0, 3.0))
    ax = picture.subplots()
    ends = row(ax, steps, weights=True)
    picture.draw_without_rendering()
    come, pause = 4, 6
    begin = come * steps + pause
    scene = Scene(picture, frames=begin + glide + pause, rate=8)
    for t in range(1, steps + 1):
        first = 2 * (t - 1)
        scene.show(
            come * t - 2, scene.frames, *bracket(ax, ends[first], ends[first + 2], 1.12, 0.16, f"Adam, step {t}")
        )
        for k in range(glide + 1):
            share = (1 - np.cos(np.pi * k / glide)) / 2
            left, right = (ends[first + i] + share * (ends[first + i + 1] - ends[first + i]) for i in (0, 2))
            label = f"Nadam, step {t}" if k == glide else ""
            last = scene.frames if k == glide else begin + k + 1
            scene.show(begin + k, last, *bracket(ax, left, right, -0.12, -0.16, label))
    picture.data = {"end of each brick": ends}
    picture.alt = (
        "Momentum and gradient take turns in a row of bricks. First brackets above it appear, each around a momentum "
        "and the gradient after it: the steps of Adam. Then the same brackets, below it, move on by one brick, each "
        "around a gradient and the momentum after it: the steps of Nadam."
    )
    return scene


def warm_up(mu: float = 0.99, steps: int = 5000, frames: int = 50) -> Scene:
    """The schedule μ_t of the report, and below it how long the steps of each dialect are on a constant gradient."""
    picture = Picture(figsize=(8.0, 5.0))
    above, below = picture.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    t = np.arange(1.0, steps + 1)
    schedule = np.array([paper.schedule(mu, int(k)) for k in t])
    lengths = {name: step_lengths(name, mu, steps) for name in DIALECTS}
    above.set(ylabel=r"$\mu_t$", xscale="log", xlim=(1, steps), ylim=(0.45, 1.02))
    below.set(xlabel="step t", ylabel="step / η", ylim=(0, 1.05 * max(y.max() for y in lengths.values())))
    below.axhline(1, color="#57606a", linewidth=0.8)
    plain(above.xaxis)
    for name in lengths:
        below.plot([], [], **look(name), label=name)
    picture.legend(*below.get_legend_handles_labels(), loc="outside right center", fontsize=9)
    picture.draw_without_rendering()
    scene = Scene(picture, frames=frames, rate=8)
    places = np.round(np.geomspace(1, steps, frames)).astype(int) - 1
    _grow(scene, above, t[places], schedule[places], {"color": "#1f2328", "marker": "o"})
    picture.data = {"step": t[places], "μ_t": schedule[places]}
    for name, y in lengths.items():
        _grow(scene, below, t[places], y[places], look(name))
        picture.data[name] = y[places]
    first = ", ".join(f"{name} {y[0]:.3g}" for name, y in lengths.items())
    picture.alt = f"First step on a constant gradient, in units of η: {first}. In the end all take steps of η."
    return scene


#: By name: the scene, and its title.
SCENES: dict[str, tuple[Callable[[], Scene], str]] = {
    "ten-methods": (ten_methods, "Ten optimizers in a ravine, each at its best learning rate"),
    "regrouping": (regrouping, "From Adam to Nadam: the same terms, grouped one term later"),
    "warm-up": (warm_up, "The schedule of the momentum, and the warm-up in five Nadams"),
}
