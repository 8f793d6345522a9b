"""Package of the ROS 2 runtime and of the model library; colcon builds it as ament_python."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "wallwm_ros"
SHARED = ("launch", "config", "calibration", "models/nano")


def data_files() -> list[tuple[str, list[str]]]:
    """Every file under the shared folders, at the same place below share/wallwm_ros."""
    files = [
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml", "LICENSE"]),
    ]
    for folder in SHARED:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files.append((f"share/{NAME}/{path.parent}", [str(path)]))
    return files


setup(
    name=NAME,
    version="0.1.0",
    description="ROS 2 runtime of WALL-WM, an event world-action model.",
    license="Apache-2.0",
    packages=find_packages(include=["wallwm_ros", "wallwm_ros.*", "wallwm_model", "wallwm_model.*"]),
    package_data={"wallwm_model": ["**/*.xml", "**/*.json", "**/*.yaml", "**/*.safetensors", "**/*.LICENSE"]},
    data_files=data_files(),
    python_requires=">=3.10,<3.14",
    install_requires=["setuptools"],
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "policy_node = wallwm_ros.nodes.policy_node:main",
            "control_node = wallwm_ros.nodes.control_node:main",
            "sim_robot_node = wallwm_ros.nodes.sim_robot_node:main",
            "wallwm = wallwm_ros.cli.main:main",
        ],
    },
)
