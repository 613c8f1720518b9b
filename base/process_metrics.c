#include "base/process_metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define STAT_MAX 1024
#define NONE (-1.0)

/* Of /proc/self/stat (proc_pid_stat(5)), behind the name, which may hold anything: its numbers
 * there, from field 3 on. */
enum { STAT_UTIME = 14, STAT_STIME, STAT_THREADS = 20, STAT_START = 22, STAT_VSIZE, STAT_RSS };
#define N_STAT (STAT_RSS + 1)

struct process {
    double cpu_s, open_fds, max_fds, resident, virtual_size, start_s, threads;
};

static size_t read_file(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t n;

    out[0] = '\0';
    if (file == NULL)
        return 0;
    n = fread(out, 1, size - 1, file);
    (void)fclose(file);
    out[n] = '\0';
    return n;
}

static double boot_s(void)
{
    char line[STAT_MAX];
    FILE *file = fopen("/proc/stat", "re");
    long long s = 0;

    if (file == NULL)
        return 0;
    while (s == 0 && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "btime %lld", &s) != 1)
            s = 0;
    (void)fclose(file);
    return (double)s;
}

static void read_stat(struct process *p)
{
    const double tick = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
    char text[STAT_MAX], *at, *rest = NULL;
    double fields[N_STAT] = {0};
    double boot;
    int n = 3;

    if (read_file("/proc/self/stat", text, sizeof(text)) == 0 || (at = strrchr(text, ')')) == NULL)
        return;
    for (at = strtok_r(at + 1, " ", &rest); at != NULL && n < N_STAT;
         at = strtok_r(NULL, " ", &rest))
        fields[n++] = strtod(at, NULL);
    if (n < N_STAT)
        return;
    p->cpu_s = (fields[STAT_UTIME] + fields[STAT_STIME]) / tick;
    p->threads = fields[STAT_THREADS];
    p->virtual_size = fields[STAT_VSIZE];
    p->resident = fields[STAT_RSS] * page;
    boot = boot_s();
    if (boot > 0)
        p->start_s = boot + fields[STAT_START] / tick;
}

static void read_descriptors(struct process *p)
{
    DIR *folder = opendir("/proc/self/fd");
    struct rlimit limit;
    double n = 0;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        p->max_fds = (double)limit.rlim_cur;
    if (folder == NULL)
        return;
    for (const struct dirent *e = readdir(folder); e != NULL; e = readdir(folder))
        n += e->d_name[0] != '.';
    (void)closedir(folder);
    p->open_fds = n - 1; /* the folder's own */
}

static struct process read_process(void)
{
    struct process p = {NONE, NONE, NONE, NONE, NONE, NONE, NONE};

    read_stat(&p);
    read_descriptors(&p);
    return p;
}

void process_metrics_write(struct text *out, bool ready)
{
    const struct process p = read_process();
    const struct {
        const char *name, *kind, *help;
        double value;
        int decimals;
    } rows[] = {
        {"process_cpu_seconds_total", "counter",
            "Processor time of this process; its key processes have their own.", p.cpu_s, 2},
        {"process_open_fds", "gauge", "File descriptors open now.", p.open_fds, 0},
        {"process_max_fds", "gauge", "File descriptors that may be open.", p.max_fds, 0},
        {"process_threads", "gauge", "Threads of this process now.", p.threads, 0},
        {"process_resident_memory_bytes", "gauge", "Memory in RAM now.", p.resident, 0},
        {"process_virtual_memory_bytes", "gauge", "Address space now.", p.virtual_size, 0},
        {"process_start_time_seconds", "gauge", "When this process was started, Unix time.",
            p.start_s, 2},
    };

    text_addf(out,
        "# HELP cradle_build_info 1, with the version of this program.\n"
        "# TYPE cradle_build_info gauge\ncradle_build_info{version=\"%s\"} 1\n"
        "# HELP cradle_ready 1 while /readyz says ready.\n"
        "# TYPE cradle_ready gauge\ncradle_ready %d\n",
        CRADLE_VERSION, ready);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].value >= 0)
            text_addf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.*f\n", rows[i].name, rows[i].help,
                rows[i].name, rows[i].kind, rows[i].name, rows[i].decimals, rows[i].value);
}
