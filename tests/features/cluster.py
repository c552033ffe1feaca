"""A real Spark cluster on the loopback address: one master and two workers, as processes of their own that end by their ids."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

SMALL = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # start fast and small; nothing here runs long
SETTINGS = {
    "spark.executor.memory": "512m", "spark.executor.cores": "1", "spark.driver.memory": "512m",
    "spark.executor.extraJavaOptions": SMALL, "spark.driver.extraJavaOptions": SMALL,
    "spark.sql.shuffle.partitions": "2", "spark.sql.adaptive.enabled": "false", "spark.default.parallelism": "2",
    "spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN",  # compiling costs more than these tables
}


def session_of(process):
    """The processes that belong to the session which a process opened, as their ids: a worker and its executors."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == process and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def await_true(question, seconds, what):
    """Ask until the answer is yes, for a bounded time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := question():
            return answer
        time.sleep(0.1)
    raise TimeoutError(f"not within {seconds} seconds: {what}")


class Cluster:
    """One master and some workers; `with` starts and ends them."""

    def __init__(self, folder, workers=2):
        import pyspark

        self.folder, self.count = Path(folder), workers
        self.home = Path(pyspark.__file__).parent
        self.processes = {}

    def start(self, name, role, *arguments):
        """Start one process; ports are free ones that it finds itself."""
        environment = {**os.environ, "SPARK_HOME": str(self.home), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": SMALL}
        with open(self.folder / f"{name}.log", "w") as log:
            self.processes[name] = subprocess.Popen(
                [str(self.home / "bin" / "spark-class"), f"org.apache.spark.deploy.{role}", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0", *arguments],
                env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def __enter__(self):
        try:
            self.start("master", "master.Master")
            self.url = await_true(lambda: re.search(r"spark://127\.0\.0\.1:\d+", self.log("master")), 120, "a master that says its address")[0]
            for number in range(self.count):
                self.start(f"worker{number}", "worker.Worker", "--cores", "1", "--memory", "1g", "--work-dir", str(self.folder / f"work{number}"), self.url)
            await_true(lambda: self.log("master").count("Registering worker") == self.count, 120, "workers that are registered")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        """End all, whatever happened before; what does not go in ten seconds is killed."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                pass
            self.kill(process)

    def kill(self, process):
        """Kill a process and what it has started, by their ids."""
        for number in session_of(process.pid):
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.wait(10)

    def left(self):
        """Processes that are still there."""
        return [number for process in self.processes.values() for number in session_of(process.pid)]
