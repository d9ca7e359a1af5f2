#!/usr/bin/env bash
# A throw-away HDFS cluster for tests: a name node and a data node in one process.
#
#   hdfs.sh run     starts it on free ports of 127.0.0.1, prints its address (hdfs://127.0.0.1:…), and
#                   ends it when stdin is closed; the cluster cannot outlive the test that holds stdin
#
# Anybody may do anything in it. Hadoop's own mini cluster, of the version pinned below, comes through
# Maven into ${XDG_CACHE_HOME:-$HOME/.cache}/thalweg/hdfs on the first call and whenever the pin
# changes; 90 MB.
#
# Needs Java 11 or newer and Maven. Under root the Debian packages default-jdk-headless and maven are
# installed when they are missing; otherwise the script fails and names them.

set -euo pipefail
umask 077

version=3.4.1

say() { echo "hdfs.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

require_programs() {
    command -v javac >/dev/null && command -v mvn >/dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        fail "javac or mvn is missing: install the packages default-jdk-headless and maven"
    say "installing the packages default-jdk-headless and maven"
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        default-jdk-headless maven >&2 || fail "they could not be installed"
}

# Fills $folder with Hadoop and the program that runs it.
make_folder() {
    require_programs
    say "making $folder"
    rm -rf "$folder"
    mkdir -p "$folder/classes"
    cat >"$folder/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>thalweg</groupId><artifactId>hdfs</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.hadoop</groupId>
      <artifactId>hadoop-client-minicluster</artifactId>
      <version>$version</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
POM
    (cd "$folder" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=jars >&2) ||
        fail "Hadoop could not be brought"
    cat >"$folder/Cluster.java" <<'JAVA'
import java.io.File;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;

public class Cluster {
    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration();
        configuration.set("dfs.replication", "1");
        configuration.setBoolean("dfs.permissions.enabled", false);
        MiniDFSCluster cluster =
            new MiniDFSCluster.Builder(configuration, new File(arguments[0])).numDataNodes(1).build();
        cluster.waitActive();
        System.out.println("hdfs://127.0.0.1:" + cluster.getNameNodePort());
        while (System.in.read() >= 0) {
        }
        cluster.shutdown();
        System.exit(0);
    }
}
JAVA
    javac -cp "$folder/jars/*" -d "$folder/classes" "$folder/Cluster.java" >&2 ||
        fail "the program that runs Hadoop does not compile"
    # Written last, so a folder that holds it is whole.
    echo "$version" >"$folder/version"
}

[ "${1-}/$#" = run/1 ] || fail "usage: hdfs.sh run"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/thalweg/hdfs"
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
[ "$(cat "$folder/version" 2>/dev/null || true)" = "$version" ] || make_folder
exec 9>&-

data=$(mktemp -d "${TMPDIR:-/tmp}/thalweg-hdfs.XXXXXX")
trap 'rm -rf "$data"' EXIT
trap 'exit 1' INT TERM HUP
java -Xmx512m -cp "$folder/classes:$folder/jars/*" Cluster "$data"
