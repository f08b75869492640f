from jobs import archive, metrics, queue, schedule


def put(name, data):
    return archive.put(name, data)


def start():
    return queue.app()


def plan():
    return schedule.plan()


def count(rows):
    return metrics.count(rows)
