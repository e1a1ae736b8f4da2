# --- says what is drawn: these lines as they are ---
import json

import matplotlib.pyplot as plt
from matplotlib.colors import to_hex


def _line(line):
    x, y = ([float(value) for value in values] for values in (line.get_xdata(), line.get_ydata()))
    look = {"color": to_hex(line.get_color()), "style": line.get_linestyle(), "marker": str(line.get_marker())}
    return {"x": x, "y": y, "width": float(line.get_linewidth()), **look}


def _points(points):
    x, y = zip(*points.get_offsets().tolist())
    sums = [float(len(x)), sum(x), sum(y), sum(one * other for one, other in zip(x, y))]
    return {"sums": sums, "color": to_hex(points.get_facecolor()[0]), "area": float(points.get_sizes()[0])}


def _image(image):
    rows = image.get_array().tolist()
    sums = [float(sum(row)) for row in rows], [float(sum(column)) for column in zip(*rows)]
    return {"rows": sums[0], "columns": sums[1], "colors": image.get_cmap().name}


def _panel(axes):
    bars = sorted(axes.patches, key=lambda bar: (round(bar.get_x() + bar.get_width() / 2, 6), bar.get_y()))
    legend = axes.get_legend()
    return {
        "labels": [axes.get_xlabel(), axes.get_ylabel()],
        "font": [float(axes.title.get_fontsize()), str(axes.title.get_fontweight())],
        "scale": axes.get_yscale(),
        "sides": sorted(side for side, spine in axes.spines.items() if spine.get_visible()),
        "legend": [text.get_text() for text in legend.get_texts()] if legend else [],
        "lines": {line.get_label(): _line(line) for line in axes.get_lines()},
        "bars": [[float(bar.get_height()), to_hex(bar.get_facecolor())] for bar in bars],
        "points": [_points(points) for points in axes.collections],
        "images": [_image(image) for image in axes.images],
        "texts": [text.get_text() for text in axes.texts],
    }


_figure = plt.gcf()
_panels = {axes.get_title(): _panel(axes) for axes in _figure.axes}
print(json.dumps({"title": _figure.get_suptitle(), "panels": _panels}))
plt.show()
# --- so far ---
