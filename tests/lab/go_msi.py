"""A Windows Installer package like Go's own (INSTALLDIR, per machine), made from one of the lab's archives."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

# go.exe takes the folder above it for GOROOT only when that has pkg/tool.
_SOURCE = """<?xml version="1.0" encoding="UTF-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
  <Product Id="*" Name="Go {version}" Language="1033" Version="{version}" Manufacturer="lab"
           UpgradeCode="22ea7650-4ac6-4001-bf29-f4b8775db1c0">
    <Package InstallerVersion="300" Compressed="yes" InstallScope="perMachine"/>
    <MediaTemplate EmbedCab="yes"/>
    <Directory Id="TARGETDIR" Name="SourceDir">
      <Directory Id="ProgramFiles64Folder">
        <Directory Id="INSTALLDIR" Name="Go">
          <Component Id="V" Guid="22ea7650-4ac6-4001-bf29-f4b8775db1c1" Win64="yes">
            <File Id="v" Source="go/VERSION" Name="VERSION"/>
          </Component>
          <Directory Id="BIN" Name="bin">
            <Component Id="G" Guid="22ea7650-4ac6-4001-bf29-f4b8775db1c2" Win64="yes">
              <File Id="g" Source="go/bin/go.exe" Name="go.exe"/>
            </Component>
          </Directory>
          <Directory Id="PKG" Name="pkg">
            <Directory Id="TOOL" Name="tool">
              <Component Id="T" Guid="22ea7650-4ac6-4001-bf29-f4b8775db1c3" Win64="yes">
                <File Id="t" Source="go/go.env" Name="here"/>
              </Component>
            </Directory>
          </Directory>
        </Directory>
      </Directory>
    </Directory>
    <Feature Id="All" Level="1"><ComponentRef Id="V"/><ComponentRef Id="G"/><ComponentRef Id="T"/></Feature>
  </Product>
</Wix>
"""


def make(archive: Path, version: str, folder: Path) -> Path:
    """Make the package with Debian's `wixl`, installed when missing; skips the test where that cannot be had."""
    if shutil.which("wixl") is None:
        words = [
            "apt-get",
            "-qq",
            "-o",
            "DPkg::Lock::Timeout=120",
            "install",
            "--yes",
            "--no-install-recommends",
            "wixl",
        ]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"wixl cannot be installed: {done.stderr.strip()[-200:]}")
    with zipfile.ZipFile(archive) as source:
        for name in ("go/VERSION", "go/go.env", "go/bin/go.exe"):
            source.extract(name, folder)
    (folder / "go.wxs").write_text(_SOURCE.format(version=version))
    package = folder / f"go{version}.windows-amd64.msi"
    words = ["wixl", "-a", "x64", "-o", package.name, "go.wxs"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return package
