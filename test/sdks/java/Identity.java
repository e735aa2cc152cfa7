import java.io.BufferedReader;
import java.io.InputStreamReader;
import software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.services.sts.StsClient;

/**
 * A program as it might run in any pod: the AWS SDK for Java v2 with nothing configured. It says who STS says it is, at the
 * start and again for each line of its input, with credentials that it fetches anew.
 */
public final class Identity {
  public static void main(String[] arguments) throws Exception {
    say();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    while (lines.readLine() != null) say();
  }

  private static void say() {
    long startedNs = System.nanoTime();
    String said;
    try (DefaultCredentialsProvider credentials = DefaultCredentialsProvider.builder().build();
        StsClient client =
            StsClient.builder().httpClient(UrlConnectionHttpClient.create()).credentialsProvider(credentials).build()) {
      said = "\"arn\":" + quoted(client.getCallerIdentity().arn());
    } catch (RuntimeException error) {
      said = "\"error\":" + quoted(String.valueOf(error.getMessage()));
    }
    System.out.println("{" + said + ",\"tookMs\":" + (System.nanoTime() - startedNs) / 1e6 + "}");
    System.out.flush();
  }

  private static String quoted(String text) {
    StringBuilder quoted = new StringBuilder("\"");
    for (char unit : text.toCharArray()) {
      if (unit < ' ' || unit > '~' || unit == '"' || unit == '\\') quoted.append(String.format("\\u%04x", (int) unit));
      else quoted.append(unit);
    }
    return quoted.append('"').toString();
  }
}
