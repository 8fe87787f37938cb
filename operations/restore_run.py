"""A restore from its beginning to its end, phase by phase, for a plan that somebody agreed to."""

from cluster import Cluster, Host
from credentials import Secrets
from operations import (
    application,
    patroni,
    patroni_changes,
    pgbouncer,
    phase,
    proofs,
    restore,
    restore_end,
    restore_members,
    restore_start,
)
from operations.restore_plan import Plan
from platforms import Platform


def deploy(cluster: Cluster, here: Host, platform: Platform, secrets: Secrets, plan: Plan) -> None:
    """Bring back what the plan says, beside the data first; then in its place, with proofs."""
    phase.reached(name="== beside the data, while the cluster runs ==")
    if here.is_postgres:
        restore_start.noted(
            name="Write the plan down", cluster=cluster, platform=platform, plan=plan
        )
    if here.is_repository:
        restore.archived(
            name="Archive all there is",
            cluster=cluster,
            platform=platform,
            repository=plan.repository,
            is_wanted=not plan.brings_another,
        )
    phase.reached(name="== what is archived is all there is ==")
    if here.is_postgres:
        restore.reached(
            name="Restore a backup beside the data, up to the target",
            cluster=cluster,
            platform=platform,
            plan=plan,
        )
    phase.reached(name="== from here on the cluster is stopped ==")
    restore_members.stop_all(cluster, here, platform, plan)
    phase.reached(name="== a new timeline ==")
    if here.is_postgres:
        restore.promoted(
            name="Promote what was restored", cluster=cluster, platform=platform, plan=plan
        )
    phase.reached(name="== the old data makes room ==")
    if here.is_postgres:
        restore_members.swapped(
            name="Put the old data aside and start the restored",
            cluster=cluster,
            platform=platform,
            plan=plan,
        )
        restore_end.led(name="Wait until it leads", cluster=cluster, plan=plan)
    if here.name == plan.host:
        restore_end.settle(cluster, here, platform, secrets)
    phase.reached(name="== the first backup of it ==")
    if here.is_repository:
        restore_end.owned(name="Let the archive be its own", cluster=cluster, plan=plan)
        restore_end.backed_up(name="Take a full backup", cluster=cluster, plan=plan)
    phase.reached(name="== replicas ==")
    if here.is_postgres:
        restore_members.rebuilt(
            name="Put the replicas' old data aside and fill them",
            cluster=cluster,
            platform=platform,
            plan=plan,
        )
        patroni.healthy(name="Wait until this member leads or streams", cluster=cluster, here=here)
        application.role_and_database(
            name="Make the application's role and database",
            cluster=cluster,
            platform=platform,
            secrets=secrets,
        )
        pgbouncer.access(name="Let PgBouncer ask for verifiers", cluster=cluster, platform=platform)
        if here.name == plan.host:
            patroni_changes.pending_restarts(
                name="Restart members that need it, one by one", cluster=cluster, platform=platform
            )
    phase.reached(name="== done ==")
    if here.is_postgres:
        restore_end.finished(
            name="Say what came of it", cluster=cluster, platform=platform, plan=plan
        )
    phase.reached(name="== proof ==")
    proofs.deploy(cluster, here, platform, secrets)
