"""What comes with p2p for Ansible and Kubernetes: that it is well-formed, and that p2p has the flags that it names."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

from command_help import command_help
from harness import OK, EndToEnd

try:
    import yaml
except ImportError:
    yaml = None
try:
    import kubernetes.client
except ImportError:
    kubernetes = None

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "tools/deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def documents():
    return [(path.name, document) for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]


def pod_of(document):
    spec = document.get("spec", {})
    return spec if "containers" in spec else spec.get("template", {}).get("spec")


def flags_of(command):
    return command_help(os.environ, (command,)).flags + command_help(os.environ).flags


@unittest.skipUnless(yaml, "there is no Python module yaml here (Debian: python3-yaml)")
class Kubernetes(unittest.TestCase):
    def test_the_flags_of_every_container_are_those_of_its_command(self):
        seen = 0
        for name, document in documents():
            pod = pod_of(document) or {}
            for container in pod.get("containers", []) + pod.get("initContainers", []):
                arguments = container.get("args", [])
                for flag in [word for word in arguments if word.startswith("--")]:
                    with self.subTest(file=name, flag=flag):
                        self.assertIn(flag, flags_of(arguments[0]))
                        seen += 1
        self.assertGreater(seen, 15)

    def test_every_volume_that_is_mounted_is_there_and_none_is_for_nothing(self):
        for name, document in documents():
            pod = pod_of(document)
            if pod:
                mounted = {mount["name"] for container in pod["containers"] + pod.get("initContainers", [])
                           for mount in container.get("volumeMounts", [])}
                self.assertEqual(mounted, {volume["name"] for volume in pod.get("volumes", [])}, name)

    def test_agents_are_told_the_address_of_the_trackers_service(self):
        services = {f"{document['metadata']['name']}.{document['metadata']['namespace']}.svc:{port['port']}"
                    for _, document in documents() if document["kind"] == "Service" for port in document["spec"]["ports"]}
        agent = next(pod_of(document) for _, document in documents() if document["kind"] == "DaemonSet")
        arguments = agent["containers"][0]["args"]
        self.assertIn(arguments[arguments.index("--tracker") + 1], services)

    @unittest.skipUnless(kubernetes, "there is no Python module kubernetes here (Debian: python3-kubernetes)")
    def test_the_manifests_hold_nothing_that_kubernetes_does_not_know(self):
        client = kubernetes.client.ApiClient()
        for name, document in documents():
            with self.subTest(file=name, kind=document["kind"]):
                known = client._ApiClient__deserialize(document, f"V1{document['kind']}")
                self.assertEqual(client.sanitize_for_serialization(known), document)


@unittest.skipUnless(shutil.which("ansible-playbook"), "there is no ansible-playbook here (Debian: ansible-core)")
class Ansible(EndToEnd):
    def test_the_playbooks_are_well_formed(self):
        for playbook in sorted((DEPLOY / "ansible").glob("*.yml")):
            done = subprocess.run(["ansible-playbook", "--syntax-check", "-i", "inventory.example.ini", playbook.name],
                                  cwd=DEPLOY / "ansible", capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_service_starts_with_the_configuration_that_the_role_writes_whatever_is_set(self):
        role = DEPLOY / "ansible/roles/p2p"
        key = self.folder / "cluster.key"
        self.run_p2p("keygen", "-o", key)
        for service, variables in (("agent", {}), ("agent", {"p2p_zone": "rack-17", "p2p_tracker_addresses": ["127.0.0.1:1"]}),
                                   ("agent", {"p2p_agent_flags": {"max-size": "200GiB", "max-idle": "30d", "lanes": 2}}),
                                   ("tracker", {"p2p_tracker_flags": {"http": "127.0.0.1:0"}})):
            with self.subTest(service=service, **variables):
                written = self.folder / "service.toml"
                done = subprocess.run(
                    ["ansible", "localhost", "-c", "local", "-e", f"@{role}/defaults/main.yml",
                     "-e", json.dumps({"p2p_service": service, **variables}), "-m", "ansible.builtin.template",
                     "-a", f"src={role}/templates/service.toml.j2 dest={written}"],
                    env=self.env | {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_HOME": str(self.folder)},
                    capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                own = ["--store", "store", "--socket", "sock"] if service == "agent" else []
                process = self.start("--config", written, service, "--listen", "127.0.0.1:0", *own)
                process.wait_line(process.err, lambda line: "an agent with" in line or "tracking on" in line)
                self.assertEqual(process.stop(), OK)

    def test_the_flags_that_the_defaults_name_are_those_of_the_services(self):
        text = (DEPLOY / "ansible/roles/p2p/defaults/main.yml").read_text()
        for service in ("agent", "tracker"):
            named = re.search(rf"# p2p_{service}_flags: \{{(.*)\}}", text)[1]
            for flag in re.findall(r"([a-z-]+): ", named):
                self.assertIn(f"--{flag}", flags_of(service))


if __name__ == "__main__":
    unittest.main()
