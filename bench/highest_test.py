#!/usr/bin/env python3
"""highest_test.py - the highest load is read off the medians, cautiously."""

import math
import unittest

import highest

LOADS = [0.1, 0.2, 0.4, 0.8]


class HighestTest(unittest.TestCase):
    def test_steps_end_at_the_last(self):
        self.assertEqual([round(one, 3) for one in highest.steps(0.1, 2, 0.8)], LOADS)

    # From 10 at 20% to 40 at 40%, the limit of 20 is half way, logarithmically.
    def test_answer_lies_between_the_last_good_step_and_the_first_bad_one(self):
        windows = [[5, 5, 90], [10, 10, 10], [40, 40, 40], [90, 90, 90]]
        self.assertAlmostEqual(highest.answer(windows, LOADS, 20), 0.2 * math.sqrt(2))

    def test_a_lucky_step_above_a_bad_one_does_not_count(self):
        windows = [[5], [math.inf], [5], [5]]
        self.assertEqual(highest.answer(windows, LOADS, 20), 0.1)

    def test_over_the_limit_at_once_is_none_at_all(self):
        self.assertEqual(highest.answer([[21], [90], [90], [90]], LOADS, 20), 0)

    def test_within_the_limit_everywhere_is_the_last_step(self):
        self.assertEqual(highest.answer([[1], [2], [3], [4]], LOADS, 20), 0.8)

    # Or the two rounds that got there would speak for all three.
    def test_rounds_that_ended_early_count_as_over_the_limit(self):
        pooled = highest.pooled([[[5, 5], [9, 9]], [[5, 5], []], [[5, 5], []]])
        self.assertEqual(pooled[1], [9, 9] + 4 * [math.inf])

    def test_a_ladder_ends_after_three_steps_over_the_limit(self):
        asked = []

        def measure_step(load, _attempt):
            asked.append(load)
            return [1 if load == 1 else 99]

        made = highest.ladder([1, 2, 3, 4, 5], 20, measure_step)
        self.assertEqual(asked, [1, 2, 3, 4])
        self.assertEqual(made, [[1], [99], [99], [99], []])

    def test_a_step_sent_late_is_tried_again(self):
        made = highest.ladder([1, 2], 20, lambda load, attempt: [7] if attempt == load else [])
        self.assertEqual(made, [[7], [7]])

    def test_a_step_that_is_always_late_ends_the_ladder(self):
        made = highest.ladder([1, 2, 3], 20, lambda load, _: [7] if load == 1 else [])
        self.assertEqual(made, [[7], [], []])


if __name__ == "__main__":
    unittest.main()
