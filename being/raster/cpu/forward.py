"""CPU kernels, forward: project the splats, order them by depth, list them by tile, blend each tile front to back.

All functions compute on plain arrays and own no memory; `numba_backend` calls them. Arithmetic in `reference.py`.
Lengths are in pixels, powers in octaves (log2), so that alpha = 2^(log_opacity - xx dx^2 - xy dx dy - yy dy^2).
"""

from __future__ import annotations

import math

import numpy as np

from being.raster.contract import (
    JACOBIAN_MARGIN,
    MAX_ALPHA,
    MIN_ALPHA,
    MIN_TRANSMITTANCE,
    NEAR_PLANE,
)
from being.raster.cpu.jit import CHECKED_MATH, FINITE_MATH, ceiling, exp2_above_min_alpha, fetch_add, floor, kernel

F = np.float32
U = np.uint64  # unsigned indices need no test for a negative (wrapped) index, which would stop vectorisation

# A tile is one vector register wide: with AVX2 a row of it is one instruction.
TILE_WIDTH = 8
TILE_HEIGHT = 16
TILE_PIXELS = TILE_WIDTH * TILE_HEIGHT
TILES_AT_ONCE = 4  # that a thread draws from the queue
LOOK_FOR_DONE_ROWS = 16  # splats between two looks at which rows of a tile still let light through

# Columns of a projected splat. The first DRAWN columns are what blending reads.
CENTER_X, CENTER_Y, CONIC_XX, CONIC_XY, CONIC_YY, LOG_OPACITY, RED, GREEN, BLUE, DEPTH = range(10)
DRAWN = 10
HALF_WIDTH, HALF_HEIGHT, DISCRIMINANT = range(10, 13)
PROJECTED = 13

LOG2E = math.log2(math.e)
LOG2_OF_255 = -math.log2(MIN_ALPHA)
NOT_DRAWN = F(3e38)  # sort key of a culled splat; every depth is less

# Columns of a (tile, splat) pair.
SLOT, ROWS = 0, 1  # place in depth order; first row | row after the last << 8


@kernel(CHECKED_MATH, allocates=False)
def rotation_of(qw, qx, qy, qz):
    """Return the rows of the rotation by a quaternion of length 1."""
    return (
        (F(1) - F(2) * (qy * qy + qz * qz), F(2) * (qx * qy - qw * qz), F(2) * (qx * qz + qw * qy)),
        (F(2) * (qx * qy + qw * qz), F(1) - F(2) * (qx * qx + qz * qz), F(2) * (qy * qz - qw * qx)),
        (F(2) * (qx * qz - qw * qy), F(2) * (qy * qz + qw * qx), F(1) - F(2) * (qx * qx + qy * qy)),
    )


@kernel(CHECKED_MATH, allocates=False)
def project(
    first,
    last,
    means,
    quats,
    scales,
    opacities,
    colors,
    probe,
    view,
    intrinsics,
    width,
    height,
    projected,
    keys,
    radii,
):
    """Project splats first..last: fill their rows of `projected`, their depth `keys` (or NOT_DRAWN) and `radii`."""
    fx, fy, cx, cy = intrinsics[0], intrinsics[1], intrinsics[2], intrinsics[3]
    low_pass, trained = intrinsics[4], intrinsics[5]
    w00, w01, w02, t0 = view[0, 0], view[0, 1], view[0, 2], view[0, 3]
    w10, w11, w12, t1 = view[1, 0], view[1, 1], view[1, 2], view[1, 3]
    w20, w21, w22, t2 = view[2, 0], view[2, 1], view[2, 2], view[2, 3]
    margin_x, margin_y = F(0.5 * JACOBIAN_MARGIN) * F(width) / fx, F(0.5 * JACOBIAN_MARGIN) * F(height) / fy
    left, right = -cx / fx - margin_x, (F(width) - cx) / fx + margin_x
    top, bottom = -cy / fy - margin_y, (F(height) - cy) / fy + margin_y
    for i in range(first, last):
        keys[i] = NOT_DRAWN
        radii[i] = F(0)
        mx, my, mz = means[i, 0], means[i, 1], means[i, 2]
        x = w00 * mx + w01 * my + w02 * mz + t0
        y = w10 * mx + w11 * my + w12 * mz + t1
        z = w20 * mx + w21 * my + w22 * mz + t2
        opacity = opacities[i]
        # Written so that NaN fails every test.
        if not (z > F(NEAR_PLANE) and z < F(1e30) and opacity >= F(MIN_ALPHA) and opacity < F(1e30)):
            continue
        red, green, blue = colors[i, 0], colors[i, 1], colors[i, 2]
        if not (abs(red) + abs(green) + abs(blue) < F(1e30)):
            continue
        inverse_z = F(1) / z
        slope_x, slope_y = x * inverse_z, y * inverse_z
        u, v = fx * slope_x + cx, fy * slope_y + cy
        if probe.shape[0] > 0:
            u += probe[i, 0]
            v += probe[i, 1]
        if not (abs(u) < F(1e9) and abs(v) < F(1e9)):
            continue

        # J W, of which row 0 is J00 W0 + J02 W2 and row 1 is J11 W1 + J12 W2.
        slope_x = min(max(slope_x, left), right)
        slope_y = min(max(slope_y, top), bottom)
        j00, j02 = fx * inverse_z, -fx * slope_x * inverse_z
        j11, j12 = fy * inverse_z, -fy * slope_y * inverse_z
        a0, a1, a2 = j00 * w00 + j02 * w20, j00 * w01 + j02 * w21, j00 * w02 + j02 * w22
        b0, b1, b2 = j11 * w10 + j12 * w20, j11 * w11 + j12 * w21, j11 * w12 + j12 * w22

        qw, qx, qy, qz = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
        inverse_norm = F(1) / math.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
        qw, qx, qy, qz = qw * inverse_norm, qx * inverse_norm, qy * inverse_norm, qz * inverse_norm
        (r00, r01, r02), (r10, r11, r12), (r20, r21, r22) = rotation_of(qw, qx, qy, qz)
        s0, s1, s2 = scales[i, 0], scales[i, 1], scales[i, 2]
        # The splat's three axes on screen: h across, v down.
        h0, v0 = (a0 * r00 + a1 * r10 + a2 * r20) * s0, (b0 * r00 + b1 * r10 + b2 * r20) * s0
        h1, v1 = (a0 * r01 + a1 * r11 + a2 * r21) * s1, (b0 * r01 + b1 * r11 + b2 * r21) * s1
        h2, v2 = (a0 * r02 + a1 * r12 + a2 * r22) * s2, (b0 * r02 + b1 * r12 + b2 * r22) * s2
        raw_xx, xy, raw_yy = h0 * h0 + h1 * h1 + h2 * h2, h0 * v0 + h1 * v1 + h2 * v2, v0 * v0 + v1 * v1 + v2 * v2
        xx, yy = raw_xx + low_pass, raw_yy + low_pass
        # |h x v|^2 + s trace + s^2 loses no digits on thin splats, where xx yy - xy^2 would.
        c0, c1, c2 = h1 * v2 - h2 * v1, h2 * v0 - h0 * v2, h0 * v1 - h1 * v0
        crossed, trace = c0 * c0 + c1 * c1 + c2 * c2, raw_xx + raw_yy
        determinant = crossed + low_pass * trace + low_pass * low_pass
        if trained != low_pass:
            opacity *= math.sqrt((crossed + trained * trace + trained * trained) / determinant)
        if not (determinant < F(1e30) and raw_xx + raw_yy < F(1e15)):
            continue

        log_opacity = math.log2(opacity)
        reach = F(2.0 / LOG2E) * max(log_opacity + F(LOG2_OF_255), F(0))  # 2 ln(255 opacity)
        half_width, half_height = math.sqrt(reach * xx), math.sqrt(reach * yy)
        first_column, last_column = ceiling(u - half_width - F(0.5)), floor(u + half_width - F(0.5))
        first_row, last_row = ceiling(v - half_height - F(0.5)), floor(v + half_height - F(0.5))
        if max(first_column, 0) > min(last_column, width - 1) or max(first_row, 0) > min(last_row, height - 1):
            continue
        keys[i] = z
        radii[i] = max(half_width, half_height)
        to_conic = F(0.5 * LOG2E) / determinant
        projected[i, CENTER_X], projected[i, CENTER_Y] = u, v
        projected[i, CONIC_XX], projected[i, CONIC_XY] = yy * to_conic, F(-2) * xy * to_conic
        projected[i, CONIC_YY] = xx * to_conic
        projected[i, LOG_OPACITY], projected[i, DEPTH] = log_opacity, z
        projected[i, RED], projected[i, GREEN], projected[i, BLUE] = red, green, blue
        projected[i, HALF_WIDTH], projected[i, HALF_HEIGHT] = half_width, half_height
        projected[i, DISCRIMINANT] = F(LOG2E * LOG2E) / determinant  # 4 conic_xx conic_yy - conic_xy^2


@kernel(CHECKED_MATH, allocates=False)
def depth_order(keys, keys_a, order_a, keys_b, order, histogram):
    """Sort the splats that are drawn by depth, stable; write their indices to `order` and return how many they are.

    Depths are positive, so their bits sort as integers: three passes of 11 bits, least significant first.
    """
    bits = keys.view(np.uint32)
    digit = np.uint32(2047)
    for j in range(3 * 2048):
        histogram[j] = 0
    count = 0
    for i in range(keys.shape[0]):
        if keys[i] < NOT_DRAWN:
            key = bits[i]
            keys_a[count], order_a[count] = key, i
            count += 1
            histogram[key & digit] += 1
            histogram[2048 + ((key >> np.uint32(11)) & digit)] += 1
            histogram[4096 + (key >> np.uint32(22))] += 1
    for digits in range(0, 3 * 2048, 2048):
        total = 0
        for j in range(digits, digits + 2048):
            total, histogram[j] = total + histogram[j], total
    for j in range(count):
        key = keys_a[j]
        bin_ = key & digit
        place = histogram[bin_]
        histogram[bin_] = place + 1
        keys_b[place], order[place] = key, order_a[j]
    for j in range(count):
        key = keys_b[j]
        bin_ = 2048 + ((key >> np.uint32(11)) & digit)
        place = histogram[bin_]
        histogram[bin_] = place + 1
        keys_a[place], order_a[place] = key, order[j]
    for j in range(count):
        bin_ = 4096 + (keys_a[j] >> np.uint32(22))
        place = histogram[bin_]
        histogram[bin_] = place + 1
        order[place] = order_a[j]
    return count


@kernel(CHECKED_MATH, allocates=False)
def list_pairs(first, last, order, projected, tiles_across, tiles_down, drawn, counts, pair_tiles, pairs):
    """List the tiles, and the rows of each, that splats first..last of the depth order touch; return how many pairs.

    Copies each splat to its place in `drawn`, so that blending reads memory in order. If there are more pairs than room
    in `pair_tiles` and `pairs`, the number is still right, and the caller comes again with more.
    """
    room = pair_tiles.shape[0]
    found = 0
    for tile in range(counts.shape[0]):
        counts[tile] = 0
    for j in range(first, last):
        i = order[j]
        for column in range(DRAWN):
            drawn[j, column] = projected[i, column]
        u, v = projected[i, CENTER_X], projected[i, CENTER_Y]
        xx, xy, yy = projected[i, CONIC_XX], projected[i, CONIC_XY], projected[i, CONIC_YY]
        half_width, half_height = projected[i, HALF_WIDTH], projected[i, HALF_HEIGHT]
        discriminant = projected[i, DISCRIMINANT]
        # Slightly more than 255 opacity: rounding may add a row to a tile's list, but never lose one.
        level = (projected[i, LOG_OPACITY] + F(LOG2_OF_255)) * F(1.0005) + F(1e-4)
        x_of_lowest = -xy * half_height / (F(2) * xx)  # dx at which the ellipse reaches its largest dy
        half_inverse_yy = F(0.5) / yy
        first_column = max(ceiling(u - half_width - F(0.501)), 0)
        last_column = min(floor(u + half_width - F(0.499)), TILE_WIDTH * tiles_across - 1)
        for tile_x in range(first_column // TILE_WIDTH, last_column // TILE_WIDTH + 1):
            # Pixel centres of this column of tiles, from the splat's centre, where the ellipse has any height.
            near = max(F(tile_x * TILE_WIDTH) + F(0.5) - u, -half_width)
            far = min(F(tile_x * TILE_WIDTH + TILE_WIDTH) - F(0.5) - u, half_width)
            if far < near:
                continue
            # Both halves of its outline, xx dx^2 + xy dx dy + yy dy^2 = level, are widest where dx is nearest to the
            # outline's lowest and highest points.
            x_low, x_high = min(max(x_of_lowest, near), far), min(max(-x_of_lowest, near), far)
            root_low = math.sqrt(max(F(4) * yy * level - discriminant * x_low * x_low, F(0)))
            root_high = math.sqrt(max(F(4) * yy * level - discriminant * x_high * x_high, F(0)))
            low = v + (-xy * x_low + root_low) * half_inverse_yy
            high = v + (-xy * x_high - root_high) * half_inverse_yy
            first_row = max(ceiling(high - F(0.501)), 0)
            end_row = min(floor(low - F(0.499)) + 1, TILE_HEIGHT * tiles_down)
            if end_row <= first_row:
                continue
            for tile_y in range(first_row // TILE_HEIGHT, (end_row - 1) // TILE_HEIGHT + 1):
                if found < room:
                    start = max(first_row - tile_y * TILE_HEIGHT, 0)
                    end = min(end_row - tile_y * TILE_HEIGHT, TILE_HEIGHT)
                    tile = tile_y * tiles_across + tile_x
                    pair_tiles[found] = tile
                    pairs[found, SLOT], pairs[found, ROWS] = j, start | (end << 8)
                    counts[tile] += 1
                found += 1
    return found


@kernel(CHECKED_MATH, allocates=False)
def place_tiles(counts, starts):
    """Turn each thread's pairs per tile, counts (threads, tiles), into where it puts them; fill starts (tiles + 1,)."""
    total = 0
    for tile in range(counts.shape[1]):
        starts[tile] = total
        for thread in range(counts.shape[0]):  # earlier threads hold nearer splats
            total, counts[thread, tile] = total + counts[thread, tile], total
    starts[counts.shape[1]] = total


@kernel(CHECKED_MATH, allocates=False)
def sort_pairs(found, places, pair_tiles, pairs, sorted_pairs):
    """Move one thread's pairs, which are in depth order, to their tiles (a stable counting sort)."""
    for p in range(found):
        tile = pair_tiles[p]
        place = places[tile]
        places[tile] = place + 1
        sorted_pairs[place, SLOT], sorted_pairs[place, ROWS] = pairs[p, SLOT], pairs[p, ROWS]


# Scratch of one tile: planes of TILE_PIXELS floats.
_RED, _GREEN, _BLUE, _DEPTH = U(TILE_PIXELS), U(2 * TILE_PIXELS), U(3 * TILE_PIXELS), U(4 * TILE_PIXELS)
TILE_SCRATCH = 5 * TILE_PIXELS


@kernel(FINITE_MATH, allocates=False)
def blend_tile(start, end, pairs, drawn, x0, y0, done_below, scratch):
    """Blend pairs start..end over the tile whose corner pixel is (x0, y0), into `scratch`.

    Planes of scratch: transmittance (made negative when the pixel closes), red, green, blue, depth. Rows whose
    transmittance is all under `done_below` are left as they are.
    """
    for i in range(U(TILE_PIXELS)):
        scratch[i] = F(1)
    for i in range(U(TILE_PIXELS), U(TILE_SCRATCH)):
        scratch[i] = F(0)
    open_start, open_end = 0, TILE_HEIGHT
    for k in range(start, end):
        j, rows = pairs[k, SLOT], pairs[k, ROWS]
        first_row, end_row = max(rows & 255, open_start), min(rows >> 8, open_end)
        xx, xy, yy = drawn[j, CONIC_XX], drawn[j, CONIC_XY], drawn[j, CONIC_YY]
        log_opacity, depth = drawn[j, LOG_OPACITY], drawn[j, DEPTH]
        red, green, blue = drawn[j, RED], drawn[j, GREEN], drawn[j, BLUE]
        left = F(x0) + F(0.5) - drawn[j, CENTER_X]
        dy = F(y0) + F(0.5) - drawn[j, CENTER_Y] + F(first_row)
        for row in range(first_row, end_row):
            xy_dy, at_row = xy * dy, log_opacity - yy * dy * dy
            dy += F(1)
            offset = U(row) * U(TILE_WIDTH)
            for i in range(U(TILE_WIDTH)):
                dx = left + F(np.int32(i))
                alpha = min(exp2_above_min_alpha(at_row - dx * (xx * dx + xy_dy)), F(MAX_ALPHA))
                alpha = alpha if alpha >= F(MIN_ALPHA) else F(0)
                in_front = scratch[offset + i]
                weight = alpha * max(in_front, F(0))
                behind = in_front - weight
                closes = behind < F(MIN_TRANSMITTANCE)
                weight = F(0) if closes else weight
                scratch[offset + i] = -abs(in_front) if closes else behind
                scratch[_RED + offset + i] += weight * red
                scratch[_GREEN + offset + i] += weight * green
                scratch[_BLUE + offset + i] += weight * blue
                scratch[_DEPTH + offset + i] += weight * depth
        if (k - start) % LOOK_FOR_DONE_ROWS == LOOK_FOR_DONE_ROWS - 1:
            while open_start < open_end and row_is_done(scratch, open_start, done_below):
                open_start += 1
            while open_start < open_end and row_is_done(scratch, open_end - 1, done_below):
                open_end -= 1
            if open_start == open_end:
                break


@kernel(FINITE_MATH, allocates=False)
def row_is_done(scratch, row, done_below):
    """Return whether no pixel of a tile's row lets more than `done_below` of the light through."""
    most = F(-1)
    offset = U(row) * U(TILE_WIDTH)
    for i in range(U(TILE_WIDTH)):
        most = max(most, scratch[offset + i])
    return most <= done_below


@kernel(FINITE_MATH, allocates=False)
def blend(queue, starts, pairs, drawn, tiles_across, rgb, alpha, depth, scratch):
    """Draw tiles from the queue and write rgb (H, W, 3), alpha (H, W), depth (H, W) until none are left."""
    height, width = alpha.shape
    tiles = starts.shape[0] - 1
    while True:
        batch = fetch_add(queue, TILES_AT_ONCE)
        if batch >= tiles:
            break
        for tile in range(batch, min(batch + TILES_AT_ONCE, tiles)):
            y0 = tile // tiles_across * TILE_HEIGHT
            x0 = tile % tiles_across * TILE_WIDTH
            blend_tile(starts[tile], starts[tile + 1], pairs, drawn, x0, y0, F(0), scratch)
            for y in range(y0, min(y0 + TILE_HEIGHT, height)):
                for x in range(x0, min(x0 + TILE_WIDTH, width)):
                    i = U((y - y0) * TILE_WIDTH + x - x0)
                    rgb[y, x, 0], rgb[y, x, 1] = scratch[_RED + i], scratch[_GREEN + i]
                    rgb[y, x, 2] = scratch[_BLUE + i]
                    alpha[y, x] = F(1) - abs(scratch[i])
                    depth[y, x] = scratch[_DEPTH + i]


@kernel(FINITE_MATH, allocates=False)
def blend_over(queue, starts, pairs, drawn, tiles_across, background, picture, alpha, scratch):
    """As `blend`, but over a background (H, W, 3), to uint8: picture (H, W, 3) and alpha (H, W)."""
    height, width = alpha.shape
    tiles = starts.shape[0] - 1
    while True:
        batch = fetch_add(queue, TILES_AT_ONCE)
        if batch >= tiles:
            break
        for tile in range(batch, min(batch + TILES_AT_ONCE, tiles)):
            y0 = tile // tiles_across * TILE_HEIGHT
            x0 = tile % tiles_across * TILE_WIDTH
            # What 0.1% of the light adds is a quarter of an 8-bit step.
            blend_tile(starts[tile], starts[tile + 1], pairs, drawn, x0, y0, F(1e-3), scratch)
            for y in range(y0, min(y0 + TILE_HEIGHT, height)):
                for x in range(x0, min(x0 + TILE_WIDTH, width)):
                    i = U((y - y0) * TILE_WIDTH + x - x0)
                    through = abs(scratch[i])
                    red = scratch[_RED + i] * F(255) + through * F(background[y, x, 0]) + F(0.5)
                    green = scratch[_GREEN + i] * F(255) + through * F(background[y, x, 1]) + F(0.5)
                    blue = scratch[_BLUE + i] * F(255) + through * F(background[y, x, 2]) + F(0.5)
                    picture[y, x, 0] = np.uint8(min(red, F(255)))
                    picture[y, x, 1] = np.uint8(min(green, F(255)))
                    picture[y, x, 2] = np.uint8(min(blue, F(255)))
                    alpha[y, x] = np.uint8((F(1) - through) * F(255) + F(0.5))
