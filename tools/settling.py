"""A moving picture as one small SVG: dots, found at some epochs of a training, settle on a line.

The front page draws it from its own training. It moves by CSS alone, and stands still, settled, where a reader's system
asks for less motion."""
from __future__ import annotations

import numpy as np

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 380, 62, 46, 18, 52
MOVING, RESTING = 7.0, 4.0  # seconds of a round
STYLE = """text { font: 15px 'DejaVu Sans', Verdana, sans-serif; fill: #000 } .small { font-size: 13px }
text { stroke: #fff; stroke-width: 4px; paint-order: stroke }
.axis { stroke: #000; stroke-opacity: .25 } .line { stroke-width: 2.5; fill: none }
circle, .epoch { animation: %gs linear infinite } .epoch { animation-timing-function: step-end; opacity: 0 }
.epoch:last-of-type { opacity: 1 }
@media (prefers-reduced-motion: reduce) { circle, .epoch { animation: none } }"""


def path_of_dot(name: str, heights: np.ndarray, ends: np.ndarray) -> str:
    "Keyframes that take a dot from height to height (pixels below where it ends); NaN: it does not show."
    def frame(share, dy):
        where = "opacity: 0" if np.isnan(dy) else f"transform: translateY({dy:.1f}px); opacity: 1"
        return f"{share:.1f}% {{ {where} }}"
    frames = [frame(share, dy) for share, dy in zip(ends, heights)]
    return f"@keyframes {name} {{ {' '.join(frames)} 100% {{ transform: none; opacity: 1 }} }}"


def settling(
    looks: dict[int, np.ndarray],  # epoch -> (K,) heights of the dots; NaN, or below 0: not shown
    x: np.ndarray,                 # (K,) where the dots are
    exact: np.ndarray,             # (K,) the line
    labels: dict[str, str],        # title, x, y, dots and line: what to write
    colours: tuple[str, str],      # of the dots and of the line
) -> str:                          # an SVG
    "The dots at each epoch, one after the other, and the line that they settle on."
    top, right = 1.15 * np.nanmax([*looks.values(), exact]), x[-1] + x[0]
    def px(v): return LEFT + (WIDTH - LEFT - RIGHT) * np.asarray(v) / right
    def py(v): return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * np.asarray(v) / top
    found = np.array(list(looks.values()))                                  # epochs, dots
    heights = py(np.where(found >= 0, found, np.nan))                       # below the axes there are numbers
    ends = 100 * MOVING / (MOVING + RESTING) * np.linspace(0, 1, len(looks))
    css, body = [STYLE % (MOVING + RESTING)], []
    for v in range(int(top) + 1):
        body.append(f'<path class="axis" d="M{LEFT} {py(v):.1f}H{WIDTH - RIGHT}"/>'
                    f'<text class="small" x="{LEFT - 8}" y="{py(v) + 5:.1f}" text-anchor="end">{v}</text>')
    for v in np.arange(0, right, 0.5):
        body.append(f'<text class="small" x="{px(v):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{v:g}</text>')
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px(x), py(exact)))
    body.append(f'<polyline class="line" points="{points}" stroke="{colours[1]}"/>')
    for k in np.flatnonzero(np.isfinite(heights[-1])):
        css.append(path_of_dot(f"d{k}", heights[:, k] - heights[-1, k], ends))
        body.append(f'<circle cx="{px(x[k]):.1f}" cy="{heights[-1, k]:.1f}" r="5" fill="{colours[0]}" '
                    f'style="animation-name: d{k}"/>')
    line = WIDTH - RIGHT - 9 * len(labels["line"])  # where these words begin, at 9 pixels a letter
    dots = line - 60 - 9 * len(labels["dots"])
    x_name, y_name = f'x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}"', (TOP + HEIGHT - BOTTOM) / 2
    body += [f'<text x="{LEFT}" y="28">{labels["title"]}</text>',
             f'<text class="small" {x_name} text-anchor="middle">{labels["x"]}</text>',
             f'<text class="small" text-anchor="middle" transform="translate(20 {y_name}) rotate(-90)">'
             f'{labels["y"]}</text>',
             f'<circle cx="{dots - 12}" cy="23" r="5" fill="{colours[0]}" style="animation: none"/>'
             f'<text x="{dots}" y="28">{labels["dots"]}</text>',
             f'<path class="line" d="M{line - 32} 23h24" stroke="{colours[1]}"/>'
             f'<text x="{line}" y="28">{labels["line"]}</text>']
    for e, (epoch, start) in enumerate(zip(looks, ends)):
        last = e == len(looks) - 1
        gone = "" if last else f"{ends[e + 1]:.1f}% {{ opacity: 0 }} "
        before = "" if e == 0 else "0% { opacity: 0 } "
        css.append(f"@keyframes e{e} {{ {before}{start:.1f}% {{ opacity: 1 }} {gone}100% {{ opacity: {int(last)} }} }}")
        body.append(f'<text class="epoch" x="{WIDTH - RIGHT - 12}" y="{HEIGHT - BOTTOM - 14}" text-anchor="end" '
                    f'style="animation-name: e{e}">epoch {epoch}</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'role="img"><title>{labels["title"]}</title><style>\n' + "\n".join(css) + "\n</style>\n"
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#fff"/>\n' + "\n".join(body) + "\n</svg>\n")
