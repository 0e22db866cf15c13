"""Examples that the description and the pages show."""

from typing import Final

from fw.errors import CATALOGUE, Problem
from fw.web.response import problem_object

BY_SLUG: Final = {problem.slug: problem for problem in CATALOGUE}
EXAMPLE_ID: Final = "0193572f-6c00-7000-8000-5f3a9c1b2d4e"


def example(problem: type[Problem]) -> dict[str, object]:
    """Return an example of the answer for a problem."""
    errors = {"message": ["Must not be empty."]} if problem.slug == "invalid" else None
    return problem_object(problem, problem.sentence, EXAMPLE_ID, errors)
