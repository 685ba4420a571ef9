"""Messages for tests of channels: one of each kind of step, and one in which everything from data is an attack.

Add a step here when a channel says it in its own way. Keep how messages come about out: that is for test_messages.
"""

from dataclasses import replace

from monitoring_pipeline.notify.messages import Message

ATTACK = "<!channel> @here *bold* <https://evil.example|click> & </td><script>alert(1)</script>"

OPENED = Message(
    title="Warning: churn: feature_drift",
    severity="warning",
    status="open",
    model="churn",
    facts=(
        ("Model", "churn"),
        ("Since", "2026-11-20 06:00Z"),
        ("Metric", "drift.psi · tenure · 24h"),
        ("Value", "0.41"),
    ),
    top_bins=("[24, 36): 10.0% → 32.0% (adds 0.2212)", "null: 1.0% → 6.0% (adds 0.0907)"),
    reason="0.41 is above 0.25",
    next_step="Compare the top bins with what changed upstream.",
    runbook="https://runbooks.example/feature-drift",
    hour="2026-11-20 06:00Z",
    incident_id="churn/feature_drift@2026-11-20T06Z",
    step="opened",
    fingerprint="churn/feature_drift",
    started_at="2026-11-20T06:00:00+00:00",
    causes=("Covariate drift: tenure (80 % sure)", "Stale source: crm (15 % sure)"),
    owner="team-churn",
    links=(("Report", "https://dagster.example/assets/drift_report"),),
)
WORSENED = replace(
    OPENED,
    title="Critical, worse than before: churn: feature_drift",
    severity="critical",
    step="worsened",
    reason="1.235 is above 0.25",
    hour="2026-11-20 08:00Z",
)
ACKNOWLEDGED = replace(
    WORSENED, title="Acknowledged by Ana: churn: feature_drift", step="acknowledged", causes=(), top_bins=()
)
ESCALATED = replace(
    WORSENED,
    title="Critical, nobody has taken it on: churn: feature_drift",
    step="escalated",
    to=("email:ana@example.com", "slack:U02ABCDEF", "phone:+49 30 901820"),
)
RESOLVED = replace(
    WORSENED,
    title="Resolved: churn: feature_drift",
    status="resolved",
    step="resolved",
    facts=(("Model", "churn"), ("Since", "2026-11-20 06:00Z"), ("Quiet for", "3 evaluations"), ("Was", "critical")),
    top_bins=(),
    causes=(),
    reason="nothing above 0.25 for 3 hours",
    next_step="Nothing urgent. Note the cause while it is fresh.",
    hour="2026-11-20 11:00Z",
)
HOSTILE = replace(
    OPENED,
    title=f"Warning: churn: {ATTACK}",
    facts=((ATTACK, ATTACK), ("Metric", "https://evil.example/login")),
    top_bins=(ATTACK,),
    reason=ATTACK,
    next_step=ATTACK,
    runbook="javascript:alert(1)",
    causes=(ATTACK,),
    owner=ATTACK,
    to=("email:a@b.example, everybody@evil.example", "slack:<!here>"),
    links=((ATTACK, "javascript:alert(1)"), ("Report", "https://dagster.example/?a=1&b=2")),
)
MESSAGES = {
    "opened": OPENED,
    "worsened": WORSENED,
    "acknowledged": ACKNOWLEDGED,
    "escalated": ESCALATED,
    "resolved": RESOLVED,
    "hostile": HOSTILE,
}
