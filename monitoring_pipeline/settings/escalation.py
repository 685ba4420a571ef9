"""Who is on call and who is told next, as written in YAML.

Add a setting of schedules or levels here. Keep out which channel hears of which severity: that is `notifications`.
"""

from collections.abc import Mapping
from datetime import date, time, timedelta
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, model_validator

from monitoring_pipeline.notify.escalation import FOUR_LEVELS, RESPONSE_TARGETS, EscalationLevel, Ladder
from monitoring_pipeline.notify.on_call import Person, Schedule, Shift, zone_of
from monitoring_pipeline.settings.conditions import Duration, Name, Section, matching, parse_duration

FEWEST_RESPONDERS = 3
"""With two, one holiday leaves one person on call every night."""


def _wait(text: object) -> timedelta:
    return timedelta(0) if text == "0m" else parse_duration(text)


def _zone(name: str) -> str:
    zone_of(name)
    return name


_EMAIL = matching(r"[^@\s<>,]+@[^@\s<>,]+\.[^@\s<>,]+", "Write an address such as ana@example.org.")
_MEMBER = matching(r"[UW][A-Z0-9]+", "Write a member's id, such as U02ABCDEF: it is in their Slack profile.")
_PHONE = matching(r"\+[1-9][\d ]{6,18}", "Write a number with its country, such as '+351 912 345 678'.")
_PAGER = matching(r"[A-Z0-9]{4,20}", "Write a user's id of PagerDuty, such as PABC123.")
_TIME = matching(r"([01]\d|2[0-3]):[0-5]\d", "Write a time of day such as '09:00'.")


class Responder(Section):
    """Somebody who can be told: `{name: Ana Costa, email: ana@example.org, slack: U02ABCDEF}`."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    email: Annotated[str, _EMAIL] | None = None
    slack: Annotated[str, _MEMBER] | None = None
    phone: Annotated[str, _PHONE] | None = None
    pagerduty: Annotated[str, _PAGER] | None = None

    @model_validator(mode="after")
    def _can_be_reached(self) -> "Responder":
        if not self.person().contacts():
            raise ValueError("Nobody can reach them: add email, slack, phone or pagerduty.")
        return self

    def person(self) -> Person:
        return Person(self.name, self.email or "", self.slack or "", self.phone or "", self.pagerduty or "")


class Override(Section):
    """Somebody who takes over from whoever would be on call, [start, end)."""

    person: Name
    start: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> "Override":
        if self.start >= self.end:
            raise ValueError("An override ends after it starts: swap the two.")
        return self


class Rota(Section):
    """People who take turns: each for `shift`, handing over at the wall-clock time `handover` of `time_zone`.

    The first of them begins on the day `start`.
    """

    people: tuple[Name, ...] = Field(min_length=1)
    shift: Duration = timedelta(days=7)
    start: date = date(2026, 1, 5)
    handover: Annotated[str, _TIME] = "09:00"
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    overrides: tuple[Override, ...] = ()

    @model_validator(mode="after")
    def _is_long_enough(self) -> "Rota":
        if self.shift < timedelta(hours=1):
            raise ValueError("A shift takes an hour at least.")
        return self

    def schedule(self, name: str, people: Mapping[str, Person]) -> Schedule:
        overrides = tuple(Shift(people[each.person], each.start, each.end) for each in self.overrides)
        takers = tuple(people[person] for person in self.people)
        return Schedule(
            name, takers, self.shift, self.start, time.fromisoformat(self.handover), self.time_zone, overrides
        )


class OnCall(Section):
    """The people who can be told, by a short name, and the schedules they take turns in."""

    people: Mapping[Name, Responder] = Field(default_factory=dict)
    schedules: Mapping[Name, Rota] = Field(default_factory=dict)

    def persons(self) -> dict[str, Person]:
        """Return everybody by their short name."""
        return {name: responder.person() for name, responder in self.people.items()}

    def policy(self) -> dict[str, Schedule]:
        """Return the schedules by name."""
        persons = self.persons()
        return {name: rota.schedule(name, persons) for name, rota in self.schedules.items()}


class Level(Section):
    """One level: `{after: 15m, role: second on call, schedule: second, channels: [slack]}`."""

    after: Annotated[timedelta, BeforeValidator(_wait)]
    role: Annotated[str, Field(min_length=1, max_length=100)]
    people: tuple[Name, ...] = ()
    schedule: Name | None = None
    channels: tuple[Name, ...] = ()


class Response(Section):
    """How soon somebody must have taken an incident on."""

    sev_1: Duration = RESPONSE_TARGETS[1]
    sev_2: Duration = RESPONSE_TARGETS[2]
    sev_3: Duration = RESPONSE_TARGETS[3]


class Escalation(Section):
    """Who is told next while nobody takes on an incident of `sev` or worse.

    One that is still breaching `mitigated_within` after somebody took it on goes one level up, and one that costs
    money, by a critical verdict on a business metric, to `business_level`. With `hand_over`, a pager that is configured
    is told at the first level, and follows a ladder of its own. Without `levels` there are four: after 0, 15, 30 and 60
    minutes, the first for the first schedule of `on_call`, the second for its second one.
    """

    sev: Annotated[int, Field(ge=1, le=4)] = 2
    levels: tuple[Level, ...] | None = Field(default=None, min_length=1)
    mitigated_within: Duration = timedelta(hours=1)
    business_level: Annotated[int, Field(ge=1)] = 3
    hand_over: bool = True
    response: Response = Response()

    @model_validator(mode="after")
    def _levels_follow_each_other(self) -> "Escalation":
        waits = [level.after for level in self.levels or ()]
        if waits != sorted(set(waits)):
            raise ValueError("Each level comes later than the one before: put them in order of `after`.")
        return self

    def policy(self, on_call: OnCall, *, pager: str = "") -> Ladder:
        """Return the ladder; `pager` is the channel of a configured pager."""
        return Ladder(
            levels=self._levels(on_call),
            sev=self.sev,
            mitigated_within=self.mitigated_within,
            business_level=self.business_level,
            handed_to=pager if self.hand_over else "",
            targets={1: self.response.sev_1, 2: self.response.sev_2, 3: self.response.sev_3},
        )

    def _levels(self, on_call: OnCall) -> tuple[EscalationLevel, ...]:
        persons, schedules = on_call.persons(), on_call.policy()
        if self.levels is None:
            taken = [*schedules.values()][:2]
            rest = len(FOUR_LEVELS) - len(taken)
            return tuple(
                EscalationLevel(level.after, level.role, schedule=schedule)
                for level, schedule in zip(FOUR_LEVELS, [*taken, *[None] * rest], strict=True)
            )
        return tuple(
            EscalationLevel(
                level.after,
                level.role,
                tuple(persons[name] for name in level.people),
                schedules[level.schedule] if level.schedule else None,
                level.channels,
            )
            for level in self.levels
        )


def responder_warnings(on_call: OnCall, escalation: Escalation) -> list[str]:
    """Return what `check-config` says of a monitor that too few people answer for; it is no mistake, so no error."""
    ladder = escalation.policy(on_call)
    reached = {person for level in ladder.levels for person in level.people}
    reached |= {person for level in ladder.levels if level.schedule for person in level.schedule.people}
    warnings = []
    if len(reached) < FEWEST_RESPONDERS:
        names = ", ".join(sorted(person.name for person in reached)) or "nobody"
        warnings.append(
            f"escalation reaches {len(reached)} responders ({names}), {FEWEST_RESPONDERS} are needed to cover nights "
            "and holidays: add people to on_call and name them, or their schedule, in escalation.levels"
        )
    silent = [level.role for level in ladder.levels if level.schedule is None and not level.people]
    if reached and silent:
        warnings.append(f"escalation: nobody is named for {', '.join(silent)}: only the channels hear of it")
    return warnings
