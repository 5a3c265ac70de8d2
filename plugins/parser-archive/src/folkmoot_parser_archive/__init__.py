"""Zip archives, each file inside for Folkmoot."""

FOLKMOOT_SDK_API = 1
