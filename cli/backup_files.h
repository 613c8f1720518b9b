/* The files of a backup: each with its size and SHA-256 in a manifest, and compared with it. */
#pragma once

#include "base/cleanup.h"
#include <jansson.h>

#define BACKUP_MANIFEST "manifest.json"

/** All below `dir` besides the manifest, by name: [{"path", "size", "sha256"}]; each is on the disk
 * when it returns. ERROR_CONFIG names what is neither file nor folder. */
int backup_files_list(const char *dir, json_t **ret) MUST_CHECK;
/** Whether the files are those of the list. ERROR_CONFIG names one that was changed, is missing or
 * is too much. */
int backup_files_check(const char *dir, const json_t *files) MUST_CHECK;
/** Writes the manifest as a new file, on the disk when it returns. */
int backup_manifest_write(const char *dir, const json_t *manifest) MUST_CHECK;
/** ERROR_CONFIG: there is none, or it is none. */
int backup_manifest_read(const char *dir, json_t **ret) MUST_CHECK;
/** Of a file: SHA-256, as hexadecimal digits. */
#define BACKUP_HASH_LEN 64
int backup_file_hash(const char *path, char ret[static BACKUP_HASH_LEN + 1]) MUST_CHECK;
/** A copy for its owner's eyes, in a file that is not there yet. */
int backup_file_copy(const char *from, const char *to) MUST_CHECK;
/** Waits until what the folder names is on the disk. */
int backup_folder_sync(const char *dir) MUST_CHECK;
/** Removes the folder with all that is in it. */
void backup_remove(const char *dir);
