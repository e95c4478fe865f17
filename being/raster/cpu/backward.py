"""CPU kernels, backward: from the gradient of the pictures to that of every splat's attributes.

With a_k the alpha of splat k at a pixel, T_k what is left of the light in front of it, w_k = a_k T_k, and v_k the dot
product of the pixel's gradient with the splat's colour, coverage (1) and depth, the loss changes with a_k by

    dL/da_k = T_k v_k - (sum over j behind k of w_j v_j) / (1 - a_k).

The sum behind k is the picture's own value less what was blended up to k, so the tiles are gone through front to back
as in the forward pass, with the same decisions, and nothing but the picture has to be kept.
"""

from __future__ import annotations

import math

import numpy as np

from being.raster.contract import JACOBIAN_MARGIN, LOW_PASS, MAX_ALPHA, MIN_ALPHA, MIN_TRANSMITTANCE
from being.raster.cpu.forward import (
    BLUE,
    CENTER_X,
    CENTER_Y,
    CONIC_XX,
    CONIC_XY,
    CONIC_YY,
    DEPTH,
    GREEN,
    LOG2E,
    LOG_OPACITY,
    LOOK_FOR_DONE_ROWS,
    RED,
    ROWS,
    SLOT,
    TILE_HEIGHT,
    TILE_PIXELS,
    TILE_WIDTH,
    F,
    U,
    rotation_of,
    row_is_done,
)
from being.raster.cpu.jit import CHECKED_MATH, FINITE_MATH, exp2_above_min_alpha, kernel

# Columns of a drawn splat's gradient: centre, conic (natural units, not octaves), opacity times opacity, colour, depth.
D_X, D_Y, D_XX, D_XY, D_YY, D_LOG_OPACITY, D_RED, D_GREEN, D_BLUE, D_DEPTH = range(10)
GRADIENTS = 10

# Scratch of one tile. Planes of TILE_PIXELS floats: transmittance, the sum behind, the pixel's five gradients.
_BEHIND, _G_RED, _G_GREEN, _G_BLUE, _G_ALPHA, _G_DEPTH = (U(plane * TILE_PIXELS) for plane in range(1, 7))
# Then running sums down the rows of the tile, each with a row of zeros before its first: adding into the next row,
# instead of into one place, leaves the eight columns of a row independent and the loop vectorised.
_SUM_PIXELS = TILE_PIXELS + TILE_WIDTH
_SUMS = 7 * TILE_PIXELS
_S, _S_DY, _S_DYY, _S_RED, _S_GREEN, _S_BLUE, _S_DEPTH = (U(_SUMS + plane * _SUM_PIXELS) for plane in range(7))
TILE_SCRATCH = _SUMS + 7 * _SUM_PIXELS

TO_NATURAL_SQUARE = 2.0 / LOG2E  # conic in octaves -> xx, yy of the inverse covariance
TO_NATURAL_CROSS = 1.0 / LOG2E  # the same for xy, which the octave form holds twice


@kernel(FINITE_MATH)
def blend_backward(
    part, parts, starts, pairs, drawn, tiles_across, rgb, alpha, depth, g_rgb, g_alpha, g_depth, scratch, out
):
    """Add the gradients of every `parts`-th tile from `part` on to `out` (drawn splats, GRADIENTS), cleared first.

    rgb, alpha, depth are what `blend` wrote; g_rgb, g_alpha, g_depth the loss's gradient at them. Which thread takes
    which tile is fixed, where `blend` has a queue: sums then have one order, and a training run repeats bit for bit.
    """
    height, width = alpha.shape
    tiles = starts.shape[0] - 1
    for j in range(out.shape[0]):
        for column in range(GRADIENTS):
            out[j, column] = F(0)
    for tile in range(part, tiles, parts):
        start, end = starts[tile], starts[tile + 1]
        if start == end:
            continue
        y0 = tile // tiles_across * TILE_HEIGHT
        x0 = tile % tiles_across * TILE_WIDTH
        for i in range(U(TILE_PIXELS)):
            scratch[i] = F(1)
        for i in range(U(TILE_PIXELS), U(_SUMS)):
            scratch[i] = F(0)
        for y in range(y0, min(y0 + TILE_HEIGHT, height)):
            for x in range(x0, min(x0 + TILE_WIDTH, width)):
                i = U((y - y0) * TILE_WIDTH + x - x0)
                red, green, blue = g_rgb[y, x, 0], g_rgb[y, x, 1], g_rgb[y, x, 2]
                scratch[_G_RED + i], scratch[_G_GREEN + i], scratch[_G_BLUE + i] = red, green, blue
                scratch[_G_ALPHA + i], scratch[_G_DEPTH + i] = g_alpha[y, x], g_depth[y, x]
                color = red * rgb[y, x, 0] + green * rgb[y, x, 1] + blue * rgb[y, x, 2]
                scratch[_BEHIND + i] = color + g_alpha[y, x] * alpha[y, x] + g_depth[y, x] * depth[y, x]
        blend_tile_backward(start, end, pairs, drawn, x0, y0, scratch, out)


@kernel(FINITE_MATH)
def blend_tile_backward(start, end, pairs, drawn, x0, y0, scratch, out):
    """Go through pairs start..end as `blend_tile` did, and add to each splat's row of `out`."""
    open_start, open_end = 0, TILE_HEIGHT
    for k in range(start, end):
        j, rows = pairs[k, SLOT], pairs[k, ROWS]
        first_row, end_row = max(rows & 255, open_start), min(rows >> 8, open_end)
        if first_row < end_row:
            xx, xy, yy = drawn[j, CONIC_XX], drawn[j, CONIC_XY], drawn[j, CONIC_YY]
            log_opacity, z = drawn[j, LOG_OPACITY], drawn[j, DEPTH]
            red, green, blue = drawn[j, RED], drawn[j, GREEN], drawn[j, BLUE]
            left = F(x0) + F(0.5) - drawn[j, CENTER_X]
            dy = F(y0) + F(0.5) - drawn[j, CENTER_Y] + F(first_row)
            for plane in range(U(7)):
                offset = U(_SUMS) + plane * U(_SUM_PIXELS) + U(first_row) * U(TILE_WIDTH)
                for i in range(U(TILE_WIDTH)):
                    scratch[offset + i] = F(0)
            for row in range(first_row, end_row):
                xy_dy, at_row, dyy = xy * dy, log_opacity - yy * dy * dy, dy * dy
                offset = U(row) * U(TILE_WIDTH)
                below = offset + U(TILE_WIDTH)
                for i in range(U(TILE_WIDTH)):
                    dx = left + F(np.int32(i))
                    uncapped = exp2_above_min_alpha(at_row - dx * (xx * dx + xy_dy))
                    alpha = min(uncapped, F(MAX_ALPHA))
                    alpha = alpha if alpha >= F(MIN_ALPHA) else F(0)
                    signed = scratch[offset + i]
                    in_front = max(signed, F(0))
                    weight = alpha * in_front
                    behind = signed - weight
                    closes = behind < F(MIN_TRANSMITTANCE)
                    weight = F(0) if closes else weight
                    scratch[offset + i] = -abs(signed) if closes else behind
                    g_red, g_green = scratch[_G_RED + offset + i], scratch[_G_GREEN + offset + i]
                    g_blue, g_z = scratch[_G_BLUE + offset + i], scratch[_G_DEPTH + offset + i]
                    value = red * g_red + green * g_green + blue * g_blue + scratch[_G_ALPHA + offset + i] + z * g_z
                    behind_value = scratch[_BEHIND + offset + i] - weight * value
                    scratch[_BEHIND + offset + i] = behind_value
                    # dL/d(log alpha) = alpha dL/d(alpha); nothing passes where alpha was capped or not blended.
                    slope = alpha * (in_front * value - behind_value / (F(1) - alpha))
                    slope = F(0) if uncapped > F(MAX_ALPHA) else slope
                    slope = F(0) if closes else slope
                    scratch[_S + below + i] = scratch[_S + offset + i] + slope
                    scratch[_S_DY + below + i] = scratch[_S_DY + offset + i] + slope * dy
                    scratch[_S_DYY + below + i] = scratch[_S_DYY + offset + i] + slope * dyy
                    scratch[_S_RED + below + i] = scratch[_S_RED + offset + i] + weight * g_red
                    scratch[_S_GREEN + below + i] = scratch[_S_GREEN + offset + i] + weight * g_green
                    scratch[_S_BLUE + below + i] = scratch[_S_BLUE + offset + i] + weight * g_blue
                    scratch[_S_DEPTH + below + i] = scratch[_S_DEPTH + offset + i] + weight * g_z
                dy += F(1)
            total = total_x = total_xx = total_y = total_xy = total_yy = F(0)
            total_red = total_green = total_blue = total_z = F(0)
            offset = U(end_row) * U(TILE_WIDTH)
            for i in range(U(TILE_WIDTH)):
                dx = left + F(np.int32(i))
                slope, slope_y = scratch[_S + offset + i], scratch[_S_DY + offset + i]
                total += slope
                total_x += slope * dx
                total_xx += slope * dx * dx
                total_y += slope_y
                total_xy += slope_y * dx
                total_yy += scratch[_S_DYY + offset + i]
                total_red += scratch[_S_RED + offset + i]
                total_green += scratch[_S_GREEN + offset + i]
                total_blue += scratch[_S_BLUE + offset + i]
                total_z += scratch[_S_DEPTH + offset + i]
            # log alpha = log opacity - (a dx^2 + c dy^2) / 2 - b dx dy, where d = pixel - centre.
            a, b, c = xx * F(TO_NATURAL_SQUARE), xy * F(TO_NATURAL_CROSS), yy * F(TO_NATURAL_SQUARE)
            out[j, D_X] += a * total_x + b * total_y
            out[j, D_Y] += b * total_x + c * total_y
            out[j, D_XX] -= F(0.5) * total_xx
            out[j, D_XY] -= total_xy
            out[j, D_YY] -= F(0.5) * total_yy
            out[j, D_LOG_OPACITY] += total
            out[j, D_RED] += total_red
            out[j, D_GREEN] += total_green
            out[j, D_BLUE] += total_blue
            out[j, D_DEPTH] += total_z
        if (k - start) % LOOK_FOR_DONE_ROWS == LOOK_FOR_DONE_ROWS - 1:
            while open_start < open_end and row_is_done(scratch, open_start, F(0)):
                open_start += 1
            while open_start < open_end and row_is_done(scratch, open_end - 1, F(0)):
                open_end -= 1
            if open_start == open_end:
                break


@kernel(CHECKED_MATH)
def _adjugate_times(axes, x, y):
    """Return adj(A A^T + s I) (x, y) for the 2x3 matrix A of these axes: J A A^T J^T + s I, J a quarter turn."""
    h0, v0, h1, v1, h2, v2 = axes
    turned0, turned1, turned2 = h0 * y - v0 * x, h1 * y - v1 * x, h2 * y - v2 * x
    out_x = F(LOW_PASS) * x - v0 * turned0 - v1 * turned1 - v2 * turned2
    out_y = F(LOW_PASS) * y + h0 * turned0 + h1 * turned1 + h2 * turned2
    return out_x, out_y


@kernel(CHECKED_MATH)
def project_backward(
    first,
    last,
    order,
    gradients,
    means,
    quats,
    scales,
    opacities,
    view,
    intrinsics,
    width,
    height,
    d_means,
    d_quats,
    d_scales,
    d_opacities,
    d_colors,
    d_probe,
):
    """Take `gradients` (threads, drawn, GRADIENTS) of splats first..last of the depth order to the inputs.

    Every matrix of the forward projection is made again; the names are those of `forward.project`. The gradient
    of a matrix M is written dM. Splats that were not drawn keep the zeros they have.
    """
    fx, fy, cx, cy = intrinsics[0], intrinsics[1], intrinsics[2], intrinsics[3]
    w00, w01, w02, t0 = view[0, 0], view[0, 1], view[0, 2], view[0, 3]
    w10, w11, w12, t1 = view[1, 0], view[1, 1], view[1, 2], view[1, 3]
    w20, w21, w22, t2 = view[2, 0], view[2, 1], view[2, 2], view[2, 3]
    margin_x, margin_y = F(0.5 * JACOBIAN_MARGIN) * F(width) / fx, F(0.5 * JACOBIAN_MARGIN) * F(height) / fy
    left, right = -cx / fx - margin_x, (F(width) - cx) / fx + margin_x
    top, bottom = -cy / fy - margin_y, (F(height) - cy) / fy + margin_y
    for j in range(first, last):
        i = order[j]
        du = dv = d_xx = d_xy = d_yy = d_log_opacity = d_red = d_green = d_blue = d_z = F(0)
        for thread in range(gradients.shape[0]):
            du += gradients[thread, j, D_X]
            dv += gradients[thread, j, D_Y]
            d_xx += gradients[thread, j, D_XX]
            d_xy += gradients[thread, j, D_XY]
            d_yy += gradients[thread, j, D_YY]
            d_log_opacity += gradients[thread, j, D_LOG_OPACITY]
            d_red += gradients[thread, j, D_RED]
            d_green += gradients[thread, j, D_GREEN]
            d_blue += gradients[thread, j, D_BLUE]
            d_z += gradients[thread, j, D_DEPTH]
        d_probe[i, 0], d_probe[i, 1] = du, dv
        d_colors[i, 0], d_colors[i, 1], d_colors[i, 2] = d_red, d_green, d_blue
        d_opacities[i] = d_log_opacity / opacities[i]

        mx, my, mz = means[i, 0], means[i, 1], means[i, 2]
        x = w00 * mx + w01 * my + w02 * mz + t0
        y = w10 * mx + w11 * my + w12 * mz + t1
        z = w20 * mx + w21 * my + w22 * mz + t2
        inverse_z = F(1) / z
        free_x, free_y = x * inverse_z, y * inverse_z
        slope_x, slope_y = min(max(free_x, left), right), min(max(free_y, top), bottom)
        j00, j02 = fx * inverse_z, -fx * slope_x * inverse_z
        j11, j12 = fy * inverse_z, -fy * slope_y * inverse_z
        a0, a1, a2 = j00 * w00 + j02 * w20, j00 * w01 + j02 * w21, j00 * w02 + j02 * w22
        b0, b1, b2 = j11 * w10 + j12 * w20, j11 * w11 + j12 * w21, j11 * w12 + j12 * w22
        qw, qx, qy, qz = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
        inverse_norm = F(1) / math.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
        qw, qx, qy, qz = qw * inverse_norm, qx * inverse_norm, qy * inverse_norm, qz * inverse_norm
        (r00, r01, r02), (r10, r11, r12), (r20, r21, r22) = rotation_of(qw, qx, qy, qz)
        s0, s1, s2 = scales[i, 0], scales[i, 1], scales[i, 2]
        # The splat's axes on screen, columns (h, v) of A = JWR s, as in the forward pass.
        h0, v0 = (a0 * r00 + a1 * r10 + a2 * r20) * s0, (b0 * r00 + b1 * r10 + b2 * r20) * s0
        h1, v1 = (a0 * r01 + a1 * r11 + a2 * r21) * s1, (b0 * r01 + b1 * r11 + b2 * r21) * s1
        h2, v2 = (a0 * r02 + a1 * r12 + a2 * r22) * s2, (b0 * r02 + b1 * r12 + b2 * r22) * s2
        cross01, cross02, cross12 = h0 * v1 - h1 * v0, h0 * v2 - h2 * v0, h1 * v2 - h2 * v1
        low_pass = F(LOW_PASS)
        trace = h0 * h0 + h1 * h1 + h2 * h2 + v0 * v0 + v1 * v1 + v2 * v2
        crosses = cross01 * cross01 + cross02 * cross02 + cross12 * cross12
        over_determinant = F(1) / (crosses + low_pass * trace + low_pass * low_pass)

        # Q = (A A^T + s I)^-1 and L depends on Q: dA = -2 Q dQ Q A. Written by axes, an axis' product with itself drops
        # out of Q A (the cross product is 0), and thin splats keep the digits that the entries of Q would lose.
        qh0 = (v1 * cross01 + v2 * cross02 + low_pass * h0) * over_determinant
        qv0 = (low_pass * v0 - h1 * cross01 - h2 * cross02) * over_determinant
        qh1 = (v2 * cross12 - v0 * cross01 + low_pass * h1) * over_determinant
        qv1 = (h0 * cross01 - h2 * cross12 + low_pass * v1) * over_determinant
        qh2 = (low_pass * h2 - v0 * cross02 - v1 * cross12) * over_determinant
        qv2 = (h0 * cross02 + h1 * cross12 + low_pass * v2) * over_determinant
        half_xy = F(0.5) * d_xy  # d_xy counts both off-diagonal places
        gh0, gv0 = d_xx * qh0 + half_xy * qv0, half_xy * qh0 + d_yy * qv0
        gh1, gv1 = d_xx * qh1 + half_xy * qv1, half_xy * qh1 + d_yy * qv1
        gh2, gv2 = d_xx * qh2 + half_xy * qv2, half_xy * qh2 + d_yy * qv2
        d_scales[i, 0] = F(-2) * (gh0 * qh0 + gv0 * qv0) / s0
        d_scales[i, 1] = F(-2) * (gh1 * qh1 + gv1 * qv1) / s1
        d_scales[i, 2] = F(-2) * (gh2 * qh2 + gv2 * qv2) / s2
        # d(JWR) = dA s.
        axes, factor = (h0, v0, h1, v1, h2, v2), F(-2) * over_determinant
        dh0, dv0 = _adjugate_times(axes, gh0 * factor * s0, gv0 * factor * s0)
        dh1, dv1 = _adjugate_times(axes, gh1 * factor * s1, gv1 * factor * s1)
        dh2, dv2 = _adjugate_times(axes, gh2 * factor * s2, gv2 * factor * s2)

        # dR = (JW)^T d(JWR), then to the quaternion; what would change its norm is taken off.
        d00, d01, d02 = a0 * dh0 + b0 * dv0, a0 * dh1 + b0 * dv1, a0 * dh2 + b0 * dv2
        d10, d11, d12 = a1 * dh0 + b1 * dv0, a1 * dh1 + b1 * dv1, a1 * dh2 + b1 * dv2
        d20, d21, d22 = a2 * dh0 + b2 * dv0, a2 * dh1 + b2 * dv1, a2 * dh2 + b2 * dv2
        dqw = F(2) * (qx * (d21 - d12) + qy * (d02 - d20) + qz * (d10 - d01))
        dqx = F(2) * (qw * (d21 - d12) + qy * (d01 + d10) + qz * (d02 + d20) - F(2) * qx * (d11 + d22))
        dqy = F(2) * (qw * (d02 - d20) + qx * (d01 + d10) + qz * (d12 + d21) - F(2) * qy * (d00 + d22))
        dqz = F(2) * (qw * (d10 - d01) + qx * (d02 + d20) + qy * (d12 + d21) - F(2) * qz * (d00 + d11))
        radial = dqw * qw + dqx * qx + dqy * qy + dqz * qz
        d_quats[i, 0], d_quats[i, 1] = (dqw - radial * qw) * inverse_norm, (dqx - radial * qx) * inverse_norm
        d_quats[i, 2], d_quats[i, 3] = (dqy - radial * qy) * inverse_norm, (dqz - radial * qz) * inverse_norm

        # d(JW) = d(JWR) R^T, then dJ = d(JW) W^T at the four places of J that are not zero.
        da0, da1 = dh0 * r00 + dh1 * r01 + dh2 * r02, dh0 * r10 + dh1 * r11 + dh2 * r12
        da2, db0 = dh0 * r20 + dh1 * r21 + dh2 * r22, dv0 * r00 + dv1 * r01 + dv2 * r02
        db1, db2 = dv0 * r10 + dv1 * r11 + dv2 * r12, dv0 * r20 + dv1 * r21 + dv2 * r22
        dj00, dj02 = da0 * w00 + da1 * w01 + da2 * w02, da0 * w20 + da1 * w21 + da2 * w22
        dj11, dj12 = db0 * w10 + db1 * w11 + db2 * w12, db0 * w20 + db1 * w21 + db2 * w22
        # u = fx x/z + cx; J00 = fx/z; J02 = -fx slope/z, where the slope is x/z unless it was clamped.
        d_slope_x = fx * du + (-j00 * dj02 if slope_x == free_x else F(0))
        d_slope_y = fy * dv + (-j11 * dj12 if slope_y == free_y else F(0))
        dx, dy = d_slope_x * inverse_z, d_slope_y * inverse_z
        d_z -= (d_slope_x * free_x + d_slope_y * free_y) * inverse_z
        d_z -= (dj00 * j00 + dj11 * j11 + dj02 * j02 + dj12 * j12) * inverse_z
        d_means[i, 0] = w00 * dx + w10 * dy + w20 * d_z
        d_means[i, 1] = w01 * dx + w11 * dy + w21 * d_z
        d_means[i, 2] = w02 * dx + w12 * dy + w22 * d_z
