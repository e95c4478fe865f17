"""Kernels that draw eight-bit pictures of splats on the screen, by bands of 32 rows: order, list, blend, finish.

A band is one job: it lists its splats by tile, blends the tiles and writes bytes, so threads meet only before and after
all bands. A tile is 8 columns wide; two of its rows are one vector of sixteen lanes, and what the light no longer
reaches is left out by a bit a vector. `forward` is the exact form, for training and for floats.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from being.raster.contract import MAX_ALPHA
from being.raster.cpu.jit import CHECKED_MATH, FINITE_MATH, fetch_add, kernel
from being.raster.cpu.screen import (
    BLUE,
    CENTER_X,
    CENTER_Y,
    FALL,
    GREEN,
    HALF_WIDTH,
    HEIGHT,
    LOWEST_X,
    MIN_POWER,
    NOT_DRAWN,
    POWER,
    POWER_XX,
    POWER_XY,
    POWER_YY,
    RECORD,
    RED,
    SHEAR,
)
from being.raster.cpu.simd import (
    WIDTH,
    any_above,
    broadcast,
    fill,
    floor_lanes,
    fma,
    keep_above,
    load,
    load_bytes,
    lowest_bit,
    maximum,
    minimum,
    root,
    store,
    store_two_rows,
)

F = np.float32
EXACT: set[str] = set()

TILE_WIDTH = 8
BAND_ROWS = 32
PAIRS_OF_ROWS = BAND_ROWS // 2
DARK = F(1e-3)  # of the light: what so little adds is a quarter of an 8-bit step

# A listed splat: its place in the band << 9 | first pair of rows << 5 | pair after the last.
_START_BITS, _END_BITS = 4, 5
STAGED_FIELDS = 9  # rows of sixteen in the staging buffer of a listing, before those of the columns
MOST_IN_BAND = 1 << (31 - _START_BITS - _END_BITS)

# Per pair of rows: light left, red, green, blue of sixteen pixels.
_PLANES = 4
TILE_SCRATCH = PAIRS_OF_ROWS * _PLANES * WIDTH
ROW_PAIR = _PLANES * WIDTH

# Centres of the pixels of two rows, and of sixteen pairs of rows, from the tile's corner.
LANE_X = np.tile(np.arange(TILE_WIDTH, dtype=np.float32) + F(0.5), 2)
LANE_Y = np.repeat(np.arange(BAND_ROWS, dtype=np.float32) + F(0.5), TILE_WIDTH)

# Minimax fit of 2^q on [-2, 0], relative error 8.6e-5: to the fourth power 3.5e-4, a tenth of an 8-bit step.
_E0, _E1, _E2, _E3, _E4 = (F(v) for v in (0.99994528, 0.69163557, 0.23448899, 0.04756513, 0.00474453))


@kernel(CHECKED_MATH, allocates=False)
def count_in_bands(depths, rows, starts):
    """Fill starts (bands + 1,) of the bands' lists; return the least and most depth drawn."""
    bands = starts.shape[0] - 1
    for band in range(bands + 1):
        starts[band] = 0
    near, far = NOT_DRAWN, F(0)
    for i in range(depths.shape[0]):
        depth = depths[i]
        if depth < NOT_DRAWN:
            near, far = min(near, depth), max(far, depth)
            for band in range(rows[2 * i] // BAND_ROWS, rows[2 * i + 1] // BAND_ROWS + 1):
                starts[band + 1] += 1
    for band in range(bands):
        starts[band + 1] += starts[band]
    return near, far


@kernel(CHECKED_MATH, allocates=False)
def order_in_bands(depths, rows, near, far, starts, keys_a, order_a, keys_b, order_b, histogram, places, listed):
    """List the splats of every band by depth, stable: two passes of a radix sort over 22 bits between near and far."""
    digit = np.uint32(2047)
    for j in range(2 * 2048):
        histogram[j] = 0
    step = F((1 << 22) - 2) / max(far - near, F(1e-20))
    count = 0
    for i in range(depths.shape[0]):
        if depths[i] < NOT_DRAWN:
            key = np.uint32((depths[i] - near) * step)
            keys_a[count], order_a[count] = key, i
            count += 1
            histogram[key & digit] += 1
            histogram[2048 + (key >> np.uint32(11))] += 1
    for digits in range(0, 2 * 2048, 2048):
        total = 0
        for j in range(digits, digits + 2048):
            total, histogram[j] = total + histogram[j], total
    for j in range(count):
        key = keys_a[j]
        bin_ = key & digit
        place = histogram[bin_]
        histogram[bin_] = place + 1
        keys_b[place], order_b[place] = key, order_a[j]
    for j in range(count):
        bin_ = 2048 + (keys_b[j] >> np.uint32(11))
        place = histogram[bin_]
        histogram[bin_] = place + 1
        order_a[place] = order_b[j]
    for band in range(starts.shape[0] - 1):
        places[band] = starts[band]
    for j in range(count):
        i = order_a[j]
        for band in range(rows[2 * i] // BAND_ROWS, rows[2 * i + 1] // BAND_ROWS + 1):
            listed[places[band]] = i
            places[band] += 1


@kernel(EXACT, allocates=False)
def list_tiles(listed, first, last, records, y0, tiles, copies, counts, lists, stage):
    """List the splats listed[first:last] of the band at row y0 by tile: lists (tiles, room), counts (tiles,).

    Copies their records, so that blending reads memory nearly in order. Sixteen splats are a vector: what rows each of
    them has in its first column of tiles, in its second, and so on; then their pairs are written one after the other.
    stage: (STAGED_FIELDS + tiles) * 16.
    """
    half, eight, zero = fill(F(0.5)), fill(F(TILE_WIDTH)), fill(F(0))
    # Rounding may add a row to a tile's list, but never lose one.
    almost, over = fill(F(0.499)), fill(F(0.501))
    corner, bottom = fill(F(y0)), fill(F(BAND_ROWS - 1))
    for tile in range(tiles):
        counts[tile] = 0
    total = last - first
    for group in range(0, total, WIDTH):
        for lane in range(WIDTH):
            slot = min(group + lane, total - 1)
            at = listed[first + slot] * RECORD
            store(copies, slot * RECORD, load(records, at))
            stage[lane] = records[at + CENTER_X]
            stage[WIDTH + lane] = records[at + CENTER_Y]
            stage[2 * WIDTH + lane] = records[at + HALF_WIDTH]
            stage[3 * WIDTH + lane] = records[at + SHEAR]
            stage[4 * WIDTH + lane] = records[at + HEIGHT]
            stage[5 * WIDTH + lane] = records[at + FALL]
            stage[6 * WIDTH + lane] = records[at + LOWEST_X]
        u, v, reach = load(stage, 0), load(stage, WIDTH) - corner, load(stage, 2 * WIDTH)
        shear, height = load(stage, 3 * WIDTH), load(stage, 4 * WIDTH)
        fall, lowest_x = load(stage, 5 * WIDTH), load(stage, 6 * WIDTH)
        first_tile = maximum(floor_lanes((u - reach - over) / eight), zero)
        last_tile = minimum(floor_lanes((u + reach - almost) / eight), fill(F(tiles - 1)))
        store(stage, 7 * WIDTH, first_tile)
        store(stage, 8 * WIDTH, last_tile)
        columns = 0
        for lane in range(WIDTH):
            columns = max(columns, np.int64(stage[8 * WIDTH + lane]) - np.int64(stage[7 * WIDTH + lane]) + 1)
        for column in range(columns):
            # Pixel centres of this column, from the splat's centre, where its outline has any height.
            left = (first_tile + fill(F(column))) * eight - u
            near = maximum(left + half, zero - reach)
            far = minimum(left + eight - half, reach)
            # Both halves of the outline are widest where dx is nearest to its lowest and highest points.
            x_low = minimum(maximum(lowest_x, near), far)
            x_high = minimum(maximum(zero - lowest_x, near), far)
            low = v + shear * x_low + root(maximum(height - fall * x_low * x_low, zero))
            high = v + shear * x_high - root(maximum(height - fall * x_high * x_high, zero))
            first_row = maximum(zero - floor_lanes(over - high), zero)
            last_row = minimum(floor_lanes(low - almost), bottom)
            code = floor_lanes(first_row * half) * fill(F(1 << _END_BITS)) + floor_lanes(last_row * half) + fill(F(1))
            code = keep_above(far - near, fill(F(-1e-30)), keep_above(last_row - first_row, zero - half, code))
            store(stage, (STAGED_FIELDS + column) * WIDTH, code)
        for lane in range(min(WIDTH, total - group)):
            tile = np.int64(stage[7 * WIDTH + lane])
            at = STAGED_FIELDS * WIDTH + lane
            while tile <= np.int64(stage[8 * WIDTH + lane]):
                rows = np.int64(stage[at])
                if rows > 0:
                    lists[tile, counts[tile]] = ((group + lane) << (_START_BITS + _END_BITS)) | rows
                    counts[tile] += 1
                tile += 1
                at += WIDTH


@kernel(EXACT, allocates=False)
def blend_tile(codes, count, copies, x0, y0, lane_x, lane_y, scratch):
    """Blend a tile's splats, nearest first, over the tile whose corner pixel is (x0, y0), into `scratch`."""
    one, zero, dark, faintest, most = fill(F(1)), fill(F(0)), fill(DARK), fill(MIN_POWER), fill(F(MAX_ALPHA))
    e0, e1, e2, e3, e4 = fill(_E0), fill(_E1), fill(_E2), fill(_E3), fill(_E4)
    for pair in range(PAIRS_OF_ROWS):
        at = pair * ROW_PAIR
        store(scratch, at, one)
        store(scratch, at + WIDTH, zero)
        store(scratch, at + 2 * WIDTH, zero)
        store(scratch, at + 3 * WIDTH, zero)
    open_pairs = np.int64((1 << PAIRS_OF_ROWS) - 1)
    columns = load(lane_x, 0)
    for k in range(count):
        code = np.int64(codes[k])
        end, start = code & 31, (code >> 5) & 15
        pairs = open_pairs & ((np.int64(1) << end) - (np.int64(1) << start))
        if pairs == 0:
            continue
        s = (code >> 9) * RECORD
        dx = columns + fill(F(x0) - copies[s + CENTER_X])
        level = fma(dx * broadcast(copies, s + POWER_XX), dx, broadcast(copies, s + POWER))
        across = dx * broadcast(copies, s + POWER_XY)
        down = broadcast(copies, s + POWER_YY)
        rows = fill(F(y0) - copies[s + CENTER_Y])
        red, green, blue = broadcast(copies, s + RED), broadcast(copies, s + GREEN), broadcast(copies, s + BLUE)
        while pairs != 0:
            pair = lowest_bit(pairs)
            pairs &= pairs - 1
            at = pair * ROW_PAIR
            dy = load(lane_y, pair * WIDTH) + rows
            power = fma(fma(down, dy, across), dy, level)
            value = fma(fma(fma(fma(e4, power, e3), power, e2), power, e1), power, e0)
            value = value * value
            light = load(scratch, at)
            weight = keep_above(power, faintest, minimum(value * value, most) * light)
            light = light - weight
            store(scratch, at, light)
            store(scratch, at + WIDTH, fma(weight, red, load(scratch, at + WIDTH)))
            store(scratch, at + 2 * WIDTH, fma(weight, green, load(scratch, at + 2 * WIDTH)))
            store(scratch, at + 3 * WIDTH, fma(weight, blue, load(scratch, at + 3 * WIDTH)))
            if not any_above(light, dark):
                open_pairs &= ~(np.int64(1) << pair)
        if open_pairs == 0:
            break


@njit(inline="always", error_model="numpy")
def _laid_over(scratch, at, light, channel, behind, behind_at):  # type: ignore[no-untyped-def]
    """One channel of sixteen pixels over the background, 0 to 255."""
    color = load(scratch, at + (1 + channel) * WIDTH) * fill(F(255))
    return minimum(fma(light, load_bytes(behind, behind_at + channel * WIDTH), color), fill(F(255)))


@njit(inline="always", error_model="numpy")
def _put_rows(value, x0, y, width, height, out, edge):  # type: ignore[no-untyped-def]
    """Two rows of eight bytes into a flat picture; what lies outside is left out. edge: 16 bytes of scratch."""
    at = y * width + x0
    if x0 + TILE_WIDTH <= width and y + 2 <= height:
        store_two_rows(out, at, at + width, value)
    else:
        store_two_rows(edge, 0, TILE_WIDTH, value)
        for row in range(min(2, height - y)):
            for x in range(min(TILE_WIDTH, width - x0)):
                out[at + row * width + x] = edge[row * TILE_WIDTH + x]


@kernel(EXACT, allocates=False)
def finish_tile(scratch, behind, behind_at, x0, y0, width, height, picture, alpha, edge):
    """Lay a tile over its background, into the flat picture (H, W, 3) and alpha (H, W)."""
    half = fill(F(0.5))
    for pair in range(min(PAIRS_OF_ROWS, (height - y0 + 1) // 2)):
        at, y = pair * ROW_PAIR, y0 + 2 * pair
        light = load(scratch, at)
        _put_rows(fma(light, fill(F(-255)), fill(F(255.5))), x0, y, width, height, alpha, edge)
        for channel in range(3):
            value = _laid_over(scratch, at, light, channel, behind, behind_at) + half
            store_two_rows(edge, 0, TILE_WIDTH, value)
            for row in range(min(2, height - y)):
                for x in range(min(TILE_WIDTH, width - x0)):
                    picture[((y + row) * width + x0 + x) * 3 + channel] = edge[row * TILE_WIDTH + x]
        behind_at += 3 * WIDTH


@kernel(EXACT, allocates=False)
def finish_tile_yuv(scratch, behind, behind_at, x0, y0, width, height, weights, luma, alpha, edge, chroma, chroma_at):
    """As `finish_tile`, into flat luma (H, W), and U and V before filtering, chroma (2, 16 pairs, tiles, 16).

    weights (12,): of red, green, blue and 1 in Y, U, V. `chroma_at` is the tile's place in the first pair of U.
    """
    stride = (width + TILE_WIDTH - 1) // TILE_WIDTH * WIDTH
    for pair in range(min(PAIRS_OF_ROWS, (height - y0 + 1) // 2)):
        at, y = pair * ROW_PAIR, y0 + 2 * pair
        light = load(scratch, at)
        _put_rows(fma(light, fill(F(-255)), fill(F(255.5))), x0, y, width, height, alpha, edge)
        red = _laid_over(scratch, at, light, 0, behind, behind_at)
        green = _laid_over(scratch, at, light, 1, behind, behind_at)
        blue = _laid_over(scratch, at, light, 2, behind, behind_at)
        value = fma(broadcast(weights, 0), red, fma(broadcast(weights, 1), green, broadcast(weights, 2) * blue))
        _put_rows(value + broadcast(weights, 3) + fill(F(0.5)), x0, y, width, height, luma, edge)
        value = fma(broadcast(weights, 4), red, fma(broadcast(weights, 5), green, broadcast(weights, 6) * blue))
        store(chroma, chroma_at, value)
        value = fma(broadcast(weights, 8), red, fma(broadcast(weights, 9), green, broadcast(weights, 10) * blue))
        store(chroma, chroma_at + PAIRS_OF_ROWS * stride, value)
        chroma_at += stride
        behind_at += 3 * WIDTH


@kernel(FINITE_MATH, allocates=False)
def finish_chroma(chroma, tiles, line, weights, y0, planes):
    """Add up two rows of a band's U and V and filter them [1 2 1] / 4 across, into planes (2, H / 2, W / 2)."""
    for plane in range(2):
        offset = weights[4 * plane + 7] + F(0.5)
        for pair in range(min(PAIRS_OF_ROWS, planes.shape[1] - y0 // 2)):
            start = np.uint64((plane * PAIRS_OF_ROWS + pair) * tiles * WIDTH)
            for tile in range(np.uint64(tiles)):
                for i in range(np.uint64(TILE_WIDTH)):
                    at = start + tile * np.uint64(WIDTH) + i
                    both = chroma[at] + chroma[at + np.uint64(TILE_WIDTH)]
                    line[tile * np.uint64(TILE_WIDTH) + i + np.uint64(1)] = both
            line[0] = line[1]
            row = planes[plane, y0 // 2 + pair]
            for i in range(np.uint64(planes.shape[2])):
                x = np.uint64(2) * i
                value = line[x] + F(2) * line[x + np.uint64(1)] + line[x + np.uint64(2)]
                row[i] = np.uint8(value * F(0.125) + offset)


@kernel(EXACT, allocates=False)
def draw_bands(
    queue, starts, listed, records, width, height, behind, picture, alpha, as_yuv, weights, planes, work, lane_x, lane_y
):
    """Draw bands from the queue until none is left.

    picture (flat): RGB, or the plane of Y. behind: see `numba_picture.Backdrop`. work: a thread's scratch arrays.
    """
    scratch, chroma, line, copies, stage, counts, lists, edge = work
    tiles = (width + TILE_WIDTH - 1) // TILE_WIDTH
    while True:
        band = fetch_add(queue, 1)
        if band >= starts.shape[0] - 1:
            break
        y0 = band * BAND_ROWS
        list_tiles(listed, starts[band], starts[band + 1], records, y0, tiles, copies, counts, lists, stage)
        for tile in range(tiles):
            x0 = tile * TILE_WIDTH
            behind_at = (band * tiles + tile) * PAIRS_OF_ROWS * 3 * WIDTH
            blend_tile(lists[tile], counts[tile], copies, x0, y0, lane_x, lane_y, scratch)
            if as_yuv:
                place = (x0, y0, width, height, weights, picture, alpha, edge, chroma, tile * WIDTH)
                finish_tile_yuv(scratch, behind, behind_at, *place)
            else:
                finish_tile(scratch, behind, behind_at, x0, y0, width, height, picture, alpha, edge)
        if as_yuv:
            finish_chroma(chroma, tiles, line, weights, y0, planes)
