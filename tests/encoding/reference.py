"""The score S by the formulas of `agents.encoding.detector`, one float at a time."""

from math import exp2, inf, isnan, sqrt

HOUR_MS = 3_600_000.0
LAGS, HALF_LIVES_HOURS, SCALES, SMOOTHED = (0, 2, 1), (72, 24, 12), (6.0, 4.2, 4.0), (1, 3, 3)


class Moments:
    """Running mean, variance and early range of one metric in one stream."""

    def __init__(self) -> None:
        self.mean = self.variance = self.weight = 0.0
        self.low, self.high = inf, -inf

    def z(self, y: float, level: float) -> float:
        """Deviation in spreads before `y` is taken in."""
        reach = max(0.0, self.high - self.low)
        return min(30.0, abs(y - self.mean) / (sqrt(self.variance) + 0.02 * reach + 1e-6 * abs(level) + 1e-12))

    def take(self, y: float, share: float, *, early: bool) -> None:
        """Take in `y` with the share of a half-life that has passed."""
        self.weight += share * (1 - self.weight)
        gain, deviation = share / self.weight, y - self.mean
        self.mean += gain * deviation
        self.variance = (1 - gain) * (self.variance + gain * deviation**2)
        if early:
            self.low, self.high = min(self.low, y), max(self.high, y)


def scores(times: list[float], values: list[list[float]]) -> list[float]:
    """Return S of each sample of one entity; NaN stands for a missing metric."""
    width = len(values[0])
    moments = [[Moments() for _ in range(width)] for _ in LAGS]
    first, seen = [inf] * width, [0] * width
    run: list[list[float]] = []
    means: list[list[float]] = []
    step, result = 0.0, []
    for row, (time, now) in enumerate(zip(times, values, strict=True)):
        elapsed = time - times[row - 1] if row else 60_000.0
        step = step or (elapsed if row else 0.0)
        if row == 0 or elapsed > 3 * step:
            run, means = [], []
        passed = min(elapsed, 3 * step) if row else elapsed
        step += 0.1 * (passed - step) if row else 0.0
        run.append(now)
        first = [min(start, time) if not isnan(value) else start for start, value in zip(first, now, strict=True)]
        levels = [one.mean for one in moments[0]]
        tops = []
        for stream, lag in enumerate(LAGS):
            share = 1 - exp2(-passed / (HALF_LIVES_HOURS[stream] * HOUR_MS))
            zs = []
            for metric, own in enumerate(moments[stream]):
                y = now[metric] if lag == 0 else now[metric] - run[-1 - lag][metric] if len(run) > lag else float("nan")
                if isnan(y):
                    continue
                if seen[metric] >= 120:
                    zs.append(own.z(y, levels[metric]))
                own.take(y, share, early=time < first[metric] + 72 * HOUR_MS)
            tops.append(sum(sorted(zs)[-5:]) / max(1, min(5, len(zs))))
        seen = [count + (not isnan(value)) for count, value in zip(seen, now, strict=True)]
        means.append(tops)
        streams = [
            min(4.0, sum(mean[stream] for mean in means[-SMOOTHED[stream] :]) / SMOOTHED[stream] / SCALES[stream]) for stream in range(3)
        ]
        result.append(sqrt(sum(stream**2 for stream in streams) / 3))
    return result
