"""A process of Celery's prefork pool that uses a key and ends as the pool ends it: a program."""

import json
import sys


def main(names):
    import django
    from django.db import connections

    django.setup()
    for alias, name in json.loads(names).items():
        connections[alias].settings_dict["NAME"] = name

    import celery.signals  # noqa: F401 - as in a worker
    from billiard.pool import Pool
    from celery.concurrency.prefork import process_destructor

    from tests.audit.test_first_uses import in_child

    pool = Pool(1, on_process_exit=process_destructor)
    assert pool.apply(in_child, (1,)) == 1
    pool.close()
    pool.join()


if __name__ == "__main__":
    main(sys.argv[1])
