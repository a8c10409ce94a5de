"""highest.py - the highest load at which a figure keeps within a limit; for */run.py.

Every round takes each contender up the same ladder of loads, in short windows, until
three steps in a row are over the limit. The answer is from the medians of the windows
of all rounds: up to the last step before the first one whose median is over the limit,
and the part of the way between the two at which the straight line between their
medians, both on a logarithmic scale, meets the limit. Its uncertainty is that of the
windows: they are drawn again at random, with replacement, and 90% of the answers lie
between the two that are printed (a bootstrap; the seed is fixed).

  ladders = highest.climb(contenders, rounds, measure_ladder, keep)
  highest.print_answers(title, ladders, loads, limit, against=["ix", "zygos"])

A window is a number; math.inf where requests were lost. What a round did not climb to
counts as infinite, so that rounds which ended early do not flatter those steps.
"""

import math
import random
import statistics
import time

import measure

STEPS_OVER_THE_LIMIT = 3
# Of a step that the generator did not send in time.
TRIES = 3
DRAWS = 1000


def steps(first, factor, last):
    """Returns loads from `first` in steps of `factor` up to `last`."""
    count = int(math.log(last / first) / math.log(factor) + 1.001)
    return [first * factor ** i for i in range(count)]


def ladder(loads, limit, measure_step):
    """Climbs once; returns a list of windows for each load, [] where it did not get.

    `measure_step(load, attempt)` returns a step's windows, or [] if the generator could
    not send any in time: then it is tried again, and at last the ladder ends there.
    """
    made = []
    over = 0
    for load in loads:
        if over == STEPS_OVER_THE_LIMIT:
            break
        for attempt in range(TRIES):
            windows = measure_step(load, attempt)
            if windows:
                break
        else:
            measure.say(f"load {load:.1%} could not be sent in time; the ladder ends below it")
            break
        made.append(windows)
        over = over + 1 if statistics.median(windows) > limit else 0
    return made + [[] for _ in range(len(loads) - len(made))]


def climb(contenders, rounds, measure_ladder, keep):
    """Returns {contender: a ladder for each round}; `keep(all so far)` after each."""
    ladders = {name: [] for name in contenders}
    begun = time.monotonic()
    for number in measure.rounds(rounds):
        order = list(contenders)
        for name in order[number % len(order):] + order[:number % len(order)]:
            ladders[name].append(measure_ladder(name, number))
        keep(ladders)
        left = (time.monotonic() - begun) / number * (rounds - number)
        measure.say(f"about {left / 60:.1f} minutes left")
    return ladders


def pooled(rounds):
    """Returns all windows of each step; infinite where a round did not get to."""
    most = max(len(step) for one in rounds for step in one)
    return [[window for windows in step for window in (windows or [math.inf] * max(most, 1))]
            for step in zip(*rounds)]


def answer(windows, loads, limit):
    """Returns the highest load within `limit`; 0 if the first step is over it."""
    before = None
    for load, step in zip(loads, windows):
        middle = statistics.median(step)
        if middle > limit:
            if before is None:
                return 0.0
            low, low_middle = before
            if not math.isfinite(middle) or low_middle <= 0:
                return low
            share = math.log(limit / low_middle) / math.log(middle / low_middle)
            return low * (load / low) ** share
        before = load, middle
    return before[0]


def drawn(windows, generator):
    return [generator.choices(step, k=len(step)) for step in windows]


def interval(values):
    """Returns what 90% of `values` lie between."""
    ordered = sorted(values)
    return ordered[int(0.05 * len(ordered))], ordered[int(0.95 * len(ordered)) - 1]


def text(value, first, form):
    return form(value) if value > 0 else f"< {form(first)}"


def print_answers(title, ladders, loads, limit, against, form="{:.1%}".format):
    """Prints each contender's answer and its ratio to those of `against`.

    A contender that is over the limit at the first step counts as that step in ratios,
    which are then too low for the others: they are marked with ">=".
    """
    windows = {name: pooled(rounds) for name, rounds in ladders.items()}
    answers = {name: answer(one, loads, limit) for name, one in windows.items()}
    generator = random.Random(1)
    draws = [{name: answer(drawn(one, generator), loads, limit) for name, one in windows.items()}
             for _ in range(DRAWS)]
    against = [name for name in against if name in ladders]
    rows = []
    for name in ladders:
        low, high = interval([one[name] for one in draws])
        row = [name, f"{text(answers[name], loads[0], form)} "
                     f"[{text(low, loads[0], form)} - {text(high, loads[0], form)}]"]
        for base in against:
            def ratio(one, name=name, base=base):
                return one[name] / max(one[base], loads[0])
            low, high = interval([ratio(one) for one in draws])
            mark = ">= " if answers[base] == 0 else ""
            row.append("" if name == base or answers[name] == 0 else
                       f"{mark}{ratio(answers):.2f} [{low:.2f} - {high:.2f}]")
        rows.append(row + [cell(step) for step in windows[name]])
    measure.print_table(title, ["server", "highest load [90% of draws]",
                                *(f"/ {name}" for name in against),
                                *(form(load) for load in loads)], rows)


def cell(step):
    """Returns a step's median for the table."""
    middle = statistics.median(step)
    return f"{middle:.1f}" if math.isfinite(middle) else "-"
