"""The story of a clinic whose root key moves to a KMS: `python -m demo_project.kms_story`.

It starts OpenBao on this machine, for as long as it lasts, and leaves nothing behind.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from demo_project.kms_scene import Scene
from demo_project.processes import Clinic, StoryStops, went_well
from demo_project.telling import chapter, quote, say, show, title
from tests.root_keys.vault.service import RIGHTS

VISITS = 50
NO_RIGHTS = 'path "transit/keys/clinic" { capabilities = ["read"] }'


def a_root_key_in_a_file(scene: Scene) -> None:
    """A clinic, and its root key in a file."""
    scene.command("generate_root_key", "--file", str(scene.root_key_file))
    scene.command("migrate", "--verbosity", "0")
    say("As in `make demo`: a database, and a root key in a file, which opens all that is in it.")
    show("$ manage.py check_root_keys\n" + scene.command("check_root_keys"))


def a_kms(scene: Scene) -> None:
    """A KMS: OpenBao, in which a key can be used and not taken."""
    say(
        "A real server, in production mode and over TLS, on this machine. Its administrator made a "
        "derived key, and a role that may encrypt and decrypt with it, and nothing else."
    )
    say("Every process of the clinic gets it into its settings first, in front:")
    scene.name_root_keys(kms=scene.vault, default=scene.local)
    show("$ manage.py check_root_keys\n" + scene.command("check_root_keys"))


def the_move(scene: Scene, clinic: Clinic) -> None:
    """The root key moves, while the clinic writes."""
    clinic.wait(went_well)
    since = len(clinic.visits)
    show("$ manage.py rewrap_master_keys\n" + scene.command("rewrap_master_keys"))
    clinic.wait(went_well)
    say(
        f"Meanwhile: {clinic.without_errors(since)} visits, each of which read every patient's "
        "notes and wrote a record. None failed."
    )


def the_file_goes(scene: Scene, clinic: Clinic) -> None:
    """The file goes."""
    scene.root_key_file.unlink()
    scene.name_root_keys(kms=scene.vault)
    since, asked = len(clinic.visits), scene.asked()
    clinic.wait(lambda visit: visit["visit"] >= since + VISITS)
    say(
        "The disk of this server and a backup are not enough now to read anything. In the next "
        f"{clinic.without_errors(since)} visits, the KMS was asked {scene.asked() - asked} "
        "times: again for a key version when what it gave is some seconds old. By default that is "
        "an hour."
    )


def the_right_is_taken_away(scene: Scene, clinic: Clinic) -> None:
    """The right is taken away."""
    say("The administrator takes the right to decrypt away. This is no outage, but a decision:")
    scene.kms.allow(NO_RIGHTS)
    refused, seconds = clinic.wait(lambda visit: visit.get("error") == "RootKeyRefused")
    quote(f"RootKeyRefused: {refused['message']}")
    say(
        f"The clinic was stopped after {seconds:.1f} seconds, without a restart. By default it is "
        "an hour at most."
    )


def and_given_back(scene: Scene, clinic: Clinic) -> None:
    """And given back."""
    scene.kms.allow(RIGHTS)
    _, seconds = clinic.wait(went_well)
    say(f"After {seconds:.1f} seconds the clinic goes on. Nothing was restarted.")


def it_is_sealed(scene: Scene, clinic: Clinic) -> None:
    """The KMS is away for a while."""
    scene.kms.bao.seal()
    since = len(clinic.visits)
    say("It is sealed, as after a power failure. A process that begins now can do nothing:")
    show("$ manage.py check_root_keys\n" + scene.command("check_root_keys", fails=True))
    clinic.wait(lambda visit: visit["visit"] >= since + VISITS)
    say(
        f"The clinic goes on: {clinic.without_errors(since)} visits, and none failed. What was "
        "opened before is used for a time of grace while there is no answer, by default a day."
    )
    scene.kms.bao.unseal()


def the_end(scene: Scene, clinic: Clinic) -> None:
    """What the KMS wrote down."""
    show(
        f"visits of the clinic           {len(clinic.visits):5}\n"
        f"of which were refused          {clinic.errors().total():5}\n"
        f"times that a key was opened    {scene.asked():5}"
    )
    say(
        "The server, and all that it and the clinic have written, are removed now. To do the same "
        "with your project: docs/how-to/root-key-in-vault.md, or one of those beside it."
    )


BEFORE = (a_root_key_in_a_file, a_kms)
AT_WORK = (the_move, the_file_goes, the_right_is_taken_away, and_given_back, it_is_sealed, the_end)


def main() -> int:
    sys.stdout.reconfigure(errors="replace")  # names have letters that a terminal may not
    title("A clinic moves its root key to a KMS")
    try:
        with TemporaryDirectory(prefix="envelope-fields-kms-") as directory:
            tell(Path(directory))
    except (StoryStops, OSError) as error:
        print(f"\nThe story stops here. {error}", file=sys.stderr)
        return 1
    return 0


def tell(directory: Path) -> None:
    """Tell all chapters."""
    with Scene(directory) as scene:
        for number, before in enumerate(BEFORE, 1):
            chapter(number, before, scene)
        with closing(Clinic("demo_project.kms_clinic", scene.environment)) as clinic:
            for number, at_work in enumerate(AT_WORK, 1 + len(BEFORE)):
                chapter(number, at_work, scene, clinic)


if __name__ == "__main__":
    sys.exit(main())
